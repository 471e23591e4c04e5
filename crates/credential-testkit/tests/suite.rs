//! The suite itself: a store without fault passes all of it, and each mistake is caught by the property against it.

#[allow(unreachable_pub, clippy::unwrap_used, reason = "a model for tests")]
mod model;

use std::sync::Arc;

use model::{Disk, Mistake, Model};
use nebula_credential_core::StoreHandle;
use nebula_credential_testkit::{FaultStore, Fixture, PROPERTIES, run};

async fn fixture(mistake: Mistake) -> Fixture {
    let disk = Arc::new(Disk::default());
    let open = move || {
        let disk = if mistake == Mistake::Volatile {
            Arc::default()
        } else {
            Arc::clone(&disk)
        };
        async move { StoreHandle::new(Model::new(disk, mistake)) }
    };
    Fixture::new(open().await).reopen_with(open)
}

mod can_do_everything {
    nebula_credential_testkit::conformance!(|| super::fixture(super::Mistake::None));
}

/// Encrypts at rest by itself, and is wrapped in a fault store with no fault in its script.
mod encrypts_behind_a_silent_fault_store {
    use super::{Arc, Disk, FaultStore, Fixture, Mistake, Model, StoreHandle};

    async fn fixture() -> Fixture {
        let disk = Arc::new(Disk::default());
        let open = move || {
            let model = Model::new(Arc::clone(&disk), Mistake::None).encrypting();
            async move { FaultStore::new(StoreHandle::new(model)).handle() }
        };
        Fixture::new(open().await).reopen_with(open)
    }

    nebula_credential_testkit::conformance!(fixture);
}

/// Attributes reach every test: this one removes them.
mod attributed {
    nebula_credential_testkit::conformance!(
        #[cfg(any())]
        #[ignore = "never"]
        |_: &str| "no fixture"
    );
}

/// Which properties catch which mistake. One property is not here: the deadline is kept by the handle itself, before
/// any store is asked.
macro_rules! mistakes {
    ($($mistake:ident => $($property:ident)+;)*) => {
        const CAUGHT: &[&str] = &[$($(stringify!($property)),+),*];

        mod catches {
            $(
                #[test]
                #[allow(non_snake_case, reason = "named for the mistake")]
                fn $mistake() {
                    $(super::caught(super::Mistake::$mistake, stringify!($property));)+
                }
            )*
        }
    };
}

mistakes! {
    AcceptsAnyVersion => only_the_next_version_is_accepted the_first_version_is_one;
    ReusesNumbersAfterPurge => a_version_number_is_never_used_again;
    ReusesNumbersAfterDelete => storing_onto_a_deleted_credential_starts_anew;
    DropsTheNewest => retention_drops_the_oldest_first;
    NeverDrops => retention_is_bounded_by_the_capability;
    KeepsZero => the_current_version_is_never_dropped;
    IgnoresIfAbsent => if_absent_needs_absence;
    IgnoresOtherPreconditions => a_deletion_obeys_its_precondition an_update_obeys_its_precondition;
    ChecksThenWrites => one_of_many_writers_wins no_increment_is_lost two_handles_lose_no_increment;
    WritesThenChecks => if_version_needs_that_version;
    ForgetsTokens => a_repeated_token_answers_as_before a_token_outlives_later_changes
        a_token_sent_at_once_is_applied_once;
    TokenIsGlobal => a_token_belongs_to_one_credential;
    TokenOfRefusedIsUsed => a_refused_change_does_not_use_its_token_up;
    TagsAreLost => a_put_without_tags_keeps_them;
    TagsSurviveDeletion => a_purge_forgets_the_tags storing_onto_a_deleted_credential_starts_anew;
    OldVersionsSurviveDeletion => storing_onto_a_deleted_credential_starts_anew;
    DeletesTwice => deleting_twice_is_not_found;
    PurgeIsSoft => a_purge_leaves_nothing;
    RestoresLive => only_a_deleted_credential_is_restored;
    RestoreForgetsTags => a_restored_credential_is_as_it_was;
    HeadHidesDeleted => a_deleted_credential_is_hidden_but_has_a_head;
    AbsentIsUnavailable => what_was_never_stored_is_not_found;
    LikePrefix => a_prefix_is_no_pattern;
    CaseFoldedPrefix => a_prefix_is_no_pattern;
    ExpiryIsInclusive => the_expiry_filter_is_strict;
    AnyTagMatches => all_wanted_tags_must_match;
    ListsDeleted => deleted_entries_are_listed_on_request;
    ListForgetsTags => a_head_says_the_same_everywhere;
    FiltersAfterPaging => filters_combine;
    WritesInTwoSteps => a_list_among_writers_misses_nothing a_reader_never_sees_half_a_write;
    TenantBlind => tenants_do_not_share_a_name;
    TenantTold => a_tenant_learns_nothing_of_another;
    ScopeBlind => scopes_do_not_share_a_name;
    ScopeIsPrefix => the_scope_filter_is_exact;
    JoinedAddress => addresses_never_collide;
    CutsNames => the_longest_names_and_most_tags_are_kept;
    PathOrder => a_list_is_ordered_by_scope_and_name;
    CursorNeedsEntry => a_cursor_outlives_its_entry;
    NextOnLastPage => pages_are_full_and_exact;
    UpdateClearsTags => an_update_changes_only_what_it_names;
    RewriteBlind => a_rewrite_needs_the_exact_old_bytes one_of_many_rewrites_wins;
    RewriteChecksThenWrites => one_of_many_rewrites_wins;
    RewriteDates => a_rewrite_changes_only_the_payload;
    RewriteSkipsDeleted => a_rewrite_reaches_deleted_credentials;
    ScanHidesDeleted => a_scan_reads_every_payload_once;
    MillisecondTimes => times_are_kept_to_the_microsecond;
    NanosecondTimes => times_are_kept_to_the_microsecond;
    TrimsTags => tags_are_kept_as_written;
    TrimsPayloads => a_value_is_read_back_byte_for_byte;
    CutsPayloads => the_longest_payload_is_kept_and_no_longer_one;
    PlainIsRefused => plain_values_need_a_store_that_encrypts;
    PhaseIsLost => every_phase_is_kept;
    RevivesRevoked => what_is_revoked_stays_so;
    UpdateRevives => what_is_revoked_stays_so;
    ServerClock => changes_are_dated_by_the_clock_of_the_request;
    CreatedMoves => changes_are_dated_by_the_clock_of_the_request;
    LatestPayloadForAll => an_exact_version_is_read;
    OneDescriptionForAll => each_version_keeps_its_own_description;
    VersionsOldestFirst => versions_come_newest_first;
    MissingVersionIsNotFound => a_missing_version_is_told_from_a_missing_credential;
    CapabilityWanders => the_capability_is_constant_and_lawful;
    ShowsPayload => only_the_next_version_is_accepted;
    TornReads => a_reader_never_sees_half_a_write;
    BusyIsAnError => neighbours_do_not_disturb_each_other;
    Volatile => what_was_acknowledged_survives_a_restart;
    StaleSecondHandle => a_second_handle_sees_every_write_at_once;
    HalfDropped => an_abandoned_put_is_never_half_done;
    HalfDeleted => an_abandoned_deletion_is_never_half_done;
}

#[test]
fn every_property_can_fail() {
    let never: Vec<_> = PROPERTIES
        .iter()
        .filter(|property| !CAUGHT.contains(&property.name))
        .collect();
    assert_eq!(format!("{never:?}"), "[nothing_is_done_after_the_deadline]");
}

#[track_caller]
#[expect(clippy::unwrap_used, reason = "the table above names properties there are")]
fn caught(mistake: Mistake, property: &str) {
    let property = PROPERTIES
        .iter()
        .find(|candidate| candidate.name == property)
        .unwrap();
    let check = || run(|| fixture(mistake), |fixture| property.check(fixture));
    // On a busy machine those that race may happen not to meet.
    assert!(
        (0..10).any(|_| std::panic::catch_unwind(check).is_err()),
        "{} does not catch {mistake:?}",
        property.name
    );
}

#[test]
fn every_property_written_is_in_the_list_and_in_the_readme() {
    let sources = [
        include_str!("../src/suite/changes.rs"),
        include_str!("../src/suite/conditions.rs"),
        include_str!("../src/suite/isolation.rs"),
        include_str!("../src/suite/lists.rs"),
        include_str!("../src/suite/puts.rs"),
        include_str!("../src/suite/reads.rs"),
        include_str!("../src/suite/removal.rs"),
        include_str!("../src/suite/together.rs"),
    ];
    let written: usize = sources
        .iter()
        .map(|source| source.matches("\npub async fn ").count())
        .sum();
    assert_eq!(PROPERTIES.len(), written);
    for property in PROPERTIES {
        let row = format!("| `{}` |", property.name);
        assert!(
            include_str!("../README.md").contains(&row),
            "the README has no row {row}"
        );
    }
}
