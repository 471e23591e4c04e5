//! The store that authors copy passes the whole suite, in under 100 lines.

#[allow(unreachable_pub, reason = "it is the whole of a crate elsewhere")]
#[path = "../examples/third_party_store.rs"]
mod third_party_store;

use nebula_credential_core::StoreHandle;
use nebula_credential_testkit::Fixture;
use third_party_store::ShelfStore;

async fn fixture() -> Fixture {
    Fixture::new(StoreHandle::new(ShelfStore::default()))
}

nebula_credential_testkit::conformance!(fixture);

#[test]
fn the_example_is_under_100_lines() {
    let lines = include_str!("../examples/third_party_store.rs").lines().count();
    assert!(lines < 100, "{lines} lines");
}
