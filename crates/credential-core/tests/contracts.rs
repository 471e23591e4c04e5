//! Contracts that hold whatever the store, layer or type.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chrono::TimeDelta;
use nebula_credential_core::{
    AnyCredential, Clock as _, Credential, CredentialError, CredentialRef, CredentialValue, ENVELOPE_MAGIC,
    ErrorKind, Precondition, Retryability, Sealed, SystemClock, Tags, Version, encode_credential, limits,
};

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
struct Pin {
    digits: String,
}

impl Credential for Pin {
    nebula_credential_core::serde_codec!();

    fn credential_type() -> &'static str {
        "pin"
    }
    fn redact(&self) -> Self {
        Self {
            digits: "[REDACTED]".into(),
        }
    }
    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.digits.as_str().into()))
    }
    fn from_value(_: CredentialValue) -> Result<Self, CredentialError> {
        Err(CredentialError::type_mismatch("not in this test"))
    }
}

fn id() -> CredentialRef {
    CredentialRef::new(
        "acme".parse().unwrap(),
        "global".parse().unwrap(),
        "db".parse().unwrap(),
    )
}

#[test]
fn a_forgotten_type_is_found_again_and_shows_only_its_name() {
    let any = AnyCredential::new(Pin {
        digits: "hunter2".into(),
    });
    assert_eq!(any.credential_type(), "pin");
    assert_eq!(
        any.downcast_ref::<Pin>(),
        Some(&Pin {
            digits: "hunter2".into()
        })
    );
    assert_eq!(format!("{any:?}"), "AnyCredential(pin)");
}

#[test]
fn what_is_known_of_an_expiry_counts_beside_what_the_value_says() {
    let any = AnyCredential::new(Pin {
        digits: "hunter2".into(),
    });
    assert_eq!((any.expires_at(), any.is_expired()), (None, false));
    let now = SystemClock.now();
    let later = now + TimeDelta::hours(1);
    let any = any.until(later);
    assert_eq!((any.expires_at(), any.is_expired()), (Some(later), false));
    assert_eq!(
        any.clone().until(later + TimeDelta::hours(1)).expires_at(),
        Some(later)
    );
    let over = any.clone().until(now);
    assert_eq!((over.expires_at(), over.is_expired()), (Some(now), true));
    assert!(!any.is_expired(), "a clone has its own");
}

#[test]
fn a_redacted_value_of_a_hand_written_type_is_not_stored() {
    let pin = Pin {
        digits: "[REDACTED".into(),
    };
    assert!(encode_credential(&pin, 100).is_ok());
    let error = encode_credential(&pin.redact(), 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("store the real value"), "{error}");
}

#[test]
fn only_an_envelope_passes_for_one() {
    assert!(Sealed::envelope(b"{\"password\":\"hunter2\"}".to_vec()).is_err());
    let mut bytes = ENVELOPE_MAGIC.to_vec();
    assert!(Sealed::envelope(bytes.clone()).is_ok());
    bytes.resize(limits::SEALED_BYTES_MAX, 0);
    assert!(Sealed::envelope(bytes.clone()).is_ok());
    bytes.push(0);
    let error = Sealed::envelope(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn preconditions() {
    let version = |n| Version::new(n).unwrap();
    let check = |p: Precondition, latest: Option<u32>, live| {
        p.check(&id(), latest.map(version), live).err().map(|e| e.kind())
    };
    assert_eq!(check(Precondition::None, None, false), None);
    assert_eq!(check(Precondition::IfAbsent, None, false), None);
    assert_eq!(check(Precondition::IfAbsent, Some(3), false), None, "deleted");
    assert_eq!(
        check(Precondition::IfAbsent, Some(3), true),
        Some(ErrorKind::Conflict)
    );
    assert_eq!(check(Precondition::IfVersion(version(3)), Some(3), true), None);
    assert_eq!(
        check(Precondition::IfVersion(version(2)), Some(3), true),
        Some(ErrorKind::Conflict)
    );
    assert_eq!(
        check(Precondition::IfVersion(version(3)), Some(3), false),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        check(Precondition::IfVersion(version(3)), None, false),
        Some(ErrorKind::NotFound)
    );
}

#[test]
fn tags_have_limits() {
    let mut tags = Tags::new();
    for i in 0..limits::TAGS {
        tags.insert(&format!("k{i}"), "v").unwrap();
    }
    assert_eq!(
        tags.insert("one-more", "v").unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
    tags.insert("k0", "replaced").unwrap();
    assert_eq!(tags.get("k0"), Some("replaced"));

    let mut tags = Tags::new();
    let value = "v".repeat(limits::TAG_VALUE_BYTES);
    let fits = (0..)
        .take_while(|i| tags.insert(&format!("k{i}"), &value).is_ok())
        .count();
    assert_eq!(
        fits,
        limits::TAGS_BYTES / (limits::TAG_VALUE_BYTES + 3),
        "pairs of 512 bytes and a short key"
    );
}

#[test]
fn every_kind_has_a_name_and_only_a_passing_cause_is_retried() {
    let transient = [
        CredentialError::unavailable("x"),
        CredentialError::connection_failed("x"),
        CredentialError::circuit_breaker_open("x"),
    ];
    for error in transient {
        assert!(
            matches!(error.retryability(), Retryability::Transient { .. }),
            "{error}"
        );
        assert_eq!(error.kind().as_str(), "unavailable");
    }
    let permanent = [
        CredentialError::outcome_unknown("x"),
        CredentialError::not_found("x"),
        CredentialError::access_denied("x"),
        CredentialError::Tampered,
        CredentialError::storage("x"),
        CredentialError::refresh_failed("x"),
    ];
    for error in permanent {
        assert_eq!(error.retryability(), Retryability::Permanent, "{error}");
    }
}

#[test]
fn versions_count_from_one_to_the_end() {
    assert_eq!(Version::new(0), None);
    assert_eq!(Version::FIRST.next(), Version::new(2));
    assert_eq!(Version::new(u32::MAX).and_then(Version::next), None);
}
