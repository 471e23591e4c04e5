//! A third party's store of under 100 lines (`store.rs`), and the conformance suite run on it.

#[allow(
    unreachable_pub,
    reason = "it is written as the crate of a third party would be"
)]
mod store;

use nebula_credential_core::StoreHandle;
use nebula_credential_testkit::{Fixture, PROPERTIES, run};

async fn fixture() -> Fixture {
    Fixture::new(StoreHandle::new(store::ShelfStore::default()))
}

#[expect(clippy::print_stdout, reason = "a program that reports to a person")]
fn main() {
    for property in PROPERTIES {
        run(fixture, |fixture| property.check(fixture));
        println!("{}", property.name);
    }
    println!("{} properties hold", PROPERTIES.len());
}
