//! The store keeps every promise of a store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nebula_credential_core::StoreHandle;
use nebula_credential_provider_local::LocalStorage;
use nebula_credential_testkit::{Fixture, conformance};

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    let open = move || {
        let path = path.clone();
        async move { StoreHandle::new(LocalStorage::new(path)) }
    };
    Fixture::new(open().await).reopen_with(open).guarded_by(dir)
}

conformance!(fixture);
