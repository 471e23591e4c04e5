//! What holds under any setting of the log.

use std::fs;

use nebula_credential::ErrorKind;
use nebula_credential::audit::{Names, OnFailure};
use nebula_credential::prelude::*;

use crate::{Place, value};

#[tokio::test]
async fn a_purpose_too_long_to_be_recorded_releases_and_changes_nothing_under_any_setting() {
    for setting in [OnFailure::FailClosed, OnFailure::BestEffort] {
        let place = Place::new();
        let alice = place.ungoverned(place.log().on_failure(setting).build()).build();
        alice.store("db", value()).await.unwrap();
        let before = place.entries();
        for len in [1025, 70_000, 1_000_000] {
            let long = alice.with_purpose(&"x".repeat(len));
            let kinds = [
                long.get::<BasicCredential>("db")
                    .await
                    .map(drop)
                    .unwrap_err()
                    .kind(),
                long.store("db", value()).await.map(drop).unwrap_err().kind(),
                long.delete("db").await.unwrap_err().kind(),
                long.rotate_key().await.map(drop).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::LimitExceeded; 4], "{setting:?} {len}");
        }
        assert_eq!(place.entries(), before);
        // One that is as long as can be, in the longest way to write it.
        let longest = alice.with_purpose(&"\u{1}".repeat(1024));
        longest.get::<BasicCredential>("db").await.unwrap();
        let last = place.last();
        assert_eq!(
            (last.version, last.purpose.map(|text| text.len())),
            (Some(1), Some(1024))
        );
    }
}

#[tokio::test]
async fn a_log_goes_on_naming_credentials_as_it_was_begun() {
    let place = Place::new();
    let tagged = place.ungoverned(place.log().names(Names::Tagged).build()).build();
    tagged.store("db-of-acme", value()).await.unwrap();
    // Whoever was told nothing.
    let plain = place.ungoverned(place.log().build()).build();
    plain.get::<BasicCredential>("db-of-acme").await.unwrap();
    assert!(place.last().tag.is_some());
    assert!(
        !fs::read_to_string(place.path("audit.log"))
            .unwrap()
            .contains("db-of-acme")
    );
    // Whoever was told otherwise gets nothing, under any setting.
    for setting in [OnFailure::FailClosed, OnFailure::BestEffort] {
        let clear = place.log().names(Names::Clear).on_failure(setting).build();
        let error = place
            .ungoverned(clear)
            .build()
            .get::<BasicCredential>("db-of-acme")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.to_string().contains("begin a new log"), "{error}");
    }
    assert!(place.is_intact());
}
