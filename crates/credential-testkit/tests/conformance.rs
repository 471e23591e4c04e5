//! The store that authors copy passes the whole suite, in under 100 lines.

#[allow(
    unreachable_pub,
    reason = "it is written as the crate of a third party would be"
)]
#[path = "../examples/third_party_store/store.rs"]
mod store;

use nebula_credential_core::StoreHandle;
use nebula_credential_testkit::Fixture;
use store::ShelfStore;

async fn fixture() -> Fixture {
    Fixture::new(StoreHandle::new(ShelfStore::default()))
}

nebula_credential_testkit::conformance!(fixture);

#[test]
fn the_example_is_under_100_lines() {
    let lines = include_str!("../examples/third_party_store/store.rs")
        .lines()
        .count();
    assert!(lines < 100, "{lines} lines");
}
