//! What every answer must be like, and how a question must be refused.

use nebula_credential_core::{
    CredentialError, CredentialRef, List, Page, Record, RecordHead, Scan, ScanPage, Sealed, Selector, Version,
};

use super::subject::{Answer, MARK};

#[track_caller]
pub(super) fn free_of_payload(error: &CredentialError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains(MARK), "an error shows the payload: {text}");
    let source = std::error::Error::source(error);
    assert!(source.is_none(), "an error holds a foreign one");
}

#[track_caller]
pub(super) fn about(head: &RecordHead, id: &CredentialRef, version: Selector) {
    assert_eq!(head.id, *id, "the answer is about another credential");
    let expected = match version {
        Selector::Latest => head.latest,
        Selector::Exact(version) => version,
    };
    assert_eq!(
        head.version.version, expected,
        "the answer is about another version"
    );
    assert!(
        head.version.version <= head.latest,
        "a version is newer than the latest: {head:?}"
    );
}

#[track_caller]
pub(super) fn lawful(page: &Page, list: &List) {
    assert!(
        page.items.len() <= list.page_size(),
        "{} entries on a page",
        page.items.len()
    );
    let place = |head: &RecordHead| (head.id.scope().clone(), head.id.name().clone());
    assert!(
        page.items.is_sorted_by(|a, b| place(a) < place(b)),
        "a page is out of order"
    );
    for head in &page.items {
        assert!(list.matches(head), "{} does not belong in this list", head.id);
        assert_eq!(
            head.version.version, head.latest,
            "a list shows the current version"
        );
    }
    if let Some(next) = &page.next {
        let last = page.items.last().expect("an empty page is the last one");
        assert_eq!(
            (next.scope.clone(), next.name.clone()),
            place(last),
            "the cursor is the last entry"
        );
    }
}

#[track_caller]
pub(super) fn ordered(page: &ScanPage<Sealed>, scan: &Scan) {
    assert!(
        page.items.len() <= scan.page_size(),
        "{} entries on a page",
        page.items.len()
    );
    let place = |record: &Record<Sealed>| (record.head.id.clone(), record.head.version.version);
    assert!(
        page.items.is_sorted_by(|a, b| place(a) < place(b)),
        "a page is out of order"
    );
    if let Some(next) = &page.next {
        let last = page.items.last().expect("an empty page is the last one");
        assert_eq!(
            (next.id.clone(), next.version),
            place(last),
            "the cursor is the last entry"
        );
    }
}

/// Says how a question must be refused.
pub(super) trait Refused {
    fn absent(self);
    fn version_absent(self);
    fn version_conflict(self) -> Option<Version>;
    fn conflict(self);
    fn exists(self);
    fn invalid_state(self);
    fn unsupported(self);
    fn over_limit(self);
}

macro_rules! refused {
    ($($method:ident: $pattern:pat => $words:literal;)*) => {
        $(#[track_caller]
        fn $method(self) {
            match self {
                Err($pattern) => {}
                Err(error) => panic!("refused as {:?}, expected {}: {error}", error.kind(), $words),
                Ok(_) => panic!("accepted, expected {}", $words),
            }
        })*
    };
}

impl<T> Refused for Answer<T> {
    refused! {
        absent: CredentialError::NotFound(_) => "NotFound";
        version_absent: CredentialError::VersionNotFound { .. } => "VersionNotFound";
        exists: CredentialError::AlreadyExists(_) => "AlreadyExists";
        invalid_state: CredentialError::InvalidState(_) => "InvalidState";
        unsupported: CredentialError::Unsupported(_) => "Unsupported";
        over_limit: CredentialError::LimitExceeded { .. } => "LimitExceeded";
        conflict: CredentialError::VersionConflict { .. } => "VersionConflict";
    }

    #[track_caller]
    fn version_conflict(self) -> Option<Version> {
        match self {
            Err(CredentialError::VersionConflict { found, .. }) => found,
            Err(error) => panic!("refused as {:?}, expected VersionConflict: {error}", error.kind()),
            Ok(_) => panic!("accepted, expected VersionConflict"),
        }
    }
}
