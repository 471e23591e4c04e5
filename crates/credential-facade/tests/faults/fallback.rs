//! A store to fall back to.

use nebula_credential::prelude::*;
use nebula_credential::resilience::FallbackStore;
use nebula_credential::{ManagerBuilder, StoreHandle};

use crate::bench::{Place, Row};

fn chained(place: &Place, chain: impl Fn(FallbackStore) -> FallbackStore) -> ManagerBuilder {
    let both = FallbackStore::new("first", place.faults.handle()).then("second", place.second.clone());
    place
        .builder(StoreHandle::new(chain(both)))
        .metrics(place.measured.clone())
}

fn served(place: &Place, _: &CredentialManager) -> String {
    place.measured.of("values_served_total")
}

#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_is_not_passed_by() {
    let row = Row {
        build: |place: &Place| chained(place, |chain| chain),
        evidence: served,
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s | link 4",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | link 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | link 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s | link 1",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | link 1",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | link 4",
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_reached_is_passed_by_when_told() {
    let row = Row {
        build: |place: &Place| chained(place, FallbackStore::past_unreachable),
        evidence: served,
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s | link 4",
        "elsewhere+elsewhere 2x 0s | elsewhere 1x 0s | unavailable 1x 0s | two 1x 0s | link 4",
        "elsewhere+elsewhere 2x 0s | elsewhere 1x 0s | unavailable 1x 0s | two 1x 0s | link 4",
        "elsewhere+elsewhere 2x 0s | elsewhere 1x 0s | outcome_unknown 1x 0s | three 1x 0s | link 4",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | link 1",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | link 4",
    ])
    .await;
}
