//! A live handle gives out nothing that a read is refused.

use std::time::Duration;

use nebula_credential::cache::{ChangeKind, Changed, Changes};
use nebula_credential::prelude::*;
use nebula_credential::{
    CredentialRef, ErrorKind, OpContext, Phase, Precondition, Scope, SecretStore as _, TenantId, Update,
};

use crate::place::{Note, POLICY, Place, note};

/// The same stored type, as another program has it.
#[derive(Credential)]
#[credential(type = "note")]
struct OtherNote {
    #[secret]
    body: String,
}

async fn next(changes: &mut Changes) -> Changed {
    let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
    change.unwrap().unwrap()
}

/// As a process that has the store open apart from ours.
fn theirs(place: &Place) -> LocalStorage {
    LocalStorage::new(place.directory.path().join("secrets"))
}

#[tokio::test]
async fn a_version_that_cannot_be_read_takes_the_one_before_it_away() {
    let place = Place::new(POLICY);
    let manager = place.builder().build();
    manager.store("n", note("one")).await.unwrap();
    let handle: CredentialHandle<Note> = manager.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let other = OtherNote { body: "two".into() };
    manager.store("n", other).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    assert_eq!(handle.load().unwrap_err().kind(), ErrorKind::Codec);
    // A version does not change: it is not read again and again.
    let asked = place.faults.count("get");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(place.faults.count("get"), asked);

    manager.store("n", note("three")).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Rotated);
    assert_eq!(handle.with(|note| note.text.clone()).unwrap(), "three");
}

#[tokio::test]
async fn a_state_that_is_not_usable_takes_the_value_away() {
    let place = Place::new(POLICY);
    let manager = place.builder().build();
    for (name, phase) in [("failed", Phase::Failed), ("revoked", Phase::Revoked)] {
        manager.store(name, note("one")).await.unwrap();
        let handle: CredentialHandle<Note> = manager.handle(name).await.unwrap();
        let mut changes = handle.changes();
        let name = CredentialName::new(name).unwrap();
        let update = Update {
            id: CredentialRef::new(TenantId::default(), Scope::default(), name.clone()),
            tags: None,
            phase: Some(phase),
            precondition: Precondition::None,
        };
        theirs(&place)
            .update(&OpContext::default(), update)
            .await
            .unwrap();
        next(&mut changes).await;
        let refused = manager.get::<Note>(name.as_str()).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidState, "{name}");
        assert_eq!(
            handle.load().unwrap_err().kind(),
            ErrorKind::InvalidState,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_deletion_is_noticed_though_the_counters_were_removed() {
    let place = Place::new(POLICY);
    let manager = place.builder().build();
    manager.store("n", note("one")).await.unwrap();
    let handle: CredentialHandle<Note> = manager.handle("n").await.unwrap();
    let mut changes = handle.changes();
    std::fs::remove_file(place.directory.path().join("secrets/changes")).unwrap();
    let other = place.builder().storage(theirs(&place)).build();
    other.delete("n").await.unwrap();
    assert!(handle.load().is_ok());
    // The time that passes until the task looks again takes none.
    tokio::time::pause();
    let change = tokio::time::timeout(Duration::from_secs(60), changes.next()).await;
    assert_eq!(change.unwrap().unwrap().kind, ChangeKind::Revoked);
    assert!(handle.load().is_err());
}
