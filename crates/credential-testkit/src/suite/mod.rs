//! The conformance suite: what it means to be a store, one `async fn` a property.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a property that does not hold is reported by a panic, as every Rust test is"
)]

mod changes;
mod conditions;
mod isolation;
mod lists;
mod puts;
mod reads;
mod removal;
mod subject;
mod together;
mod verdict;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{BoxFuture, StoreHandle};

/// Longest a property may take, fixture included, before [`run`] says that the store hangs: generous, so that a
/// remote store on a slow machine meets it, and short, so that a deadlock is a failure and not a stuck build.
pub const PROPERTY_TIMEOUT: Duration = Duration::from_secs(180);

type Open = Arc<dyn Fn() -> BoxFuture<'static, StoreHandle> + Send + Sync>;

/// One fresh, empty store, and what belongs to it.
pub struct Fixture {
    store: StoreHandle,
    open: Option<Open>,
    // Dropped after the store.
    guards: Vec<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A store that holds nothing.
    pub fn new(store: StoreHandle) -> Self {
        Self {
            store,
            open: None,
            guards: Vec::new(),
        }
    }

    /// Keeps `guard`, such as a temporary directory, until the property has been checked.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guards.push(Box::new(guard));
        self
    }

    /// How to open the same store again, as another process would: by itself, sharing only what is stored.
    ///
    /// A store that says it is `durable` or `multi_process` needs this.
    #[must_use]
    pub fn reopen_with<F, Opening>(mut self, open: F) -> Self
    where
        F: Fn() -> Opening + Send + Sync + 'static,
        Opening: Future<Output = StoreHandle> + Send + 'static,
    {
        self.open = Some(Arc::new(move || Box::pin(open())));
        self
    }

    /// A second handle on the same data.
    async fn second(&self) -> StoreHandle {
        let open = self.open.as_ref().expect(
            "a store that is `durable` or `multi_process` is opened a second time: give the fixture `reopen_with`",
        );
        open().await
    }

    /// Closes the store and opens it again.
    async fn reopen(self) -> Self {
        let Self { store, open, guards } = self;
        drop(store);
        let opener = open.clone().expect(
            "a store that is `durable` or `multi_process` is opened a second time: give the fixture `reopen_with`",
        );
        Self {
            store: opener().await,
            open,
            guards,
        }
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Checks one property on a fixture, in a tokio runtime of its own with two worker threads.
///
/// # Panics
/// When the property does not hold, or is not decided within [`PROPERTY_TIMEOUT`].
pub fn run<Making, Checking>(fixture: impl FnOnce() -> Making, property: impl FnOnce(Fixture) -> Checking)
where
    Making: Future<Output = Fixture>,
    Checking: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime needs two threads");
    let checked = runtime.block_on(async {
        tokio::time::timeout(PROPERTY_TIMEOUT, async { property(fixture().await).await }).await
    });
    assert!(
        checked.is_ok(),
        "not decided within {PROPERTY_TIMEOUT:?}: the store hangs"
    );
}

/// A property of stores.
#[derive(Clone, Copy)]
pub struct Property {
    /// What holds, in `snake_case`.
    pub name: &'static str,
    check: fn(Fixture) -> BoxFuture<'static, ()>,
}

impl Property {
    /// Checks the property, inside a tokio runtime. [`run`] brings one.
    ///
    /// # Panics
    /// When it does not hold.
    pub async fn check(self, fixture: Fixture) {
        (self.check)(fixture).await;
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Writes one `#[test]` for each property a store must have, in the module where it stands.
///
/// Takes something to call for a fresh, empty store: `Fn() -> impl Future<Output = Fixture>`, such as the name of an
/// `async fn`. Attributes given first go to every test.
///
/// ```
/// # async fn fixture() -> nebula_credential_testkit::Fixture { unreachable!("not without a server") }
/// nebula_credential_testkit::conformance!(#[ignore = "needs a server"] fixture);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    (@with [$($attributes:tt)*] #[$attribute:meta] $($rest:tt)+) => {
        $crate::conformance! { @with [$($attributes)* #[$attribute]] $($rest)+ }
    };
    (@with $attributes:tt $fixture:expr) => {
        $crate::__properties! { tests $attributes [$fixture] }
    };
    ($($fixture:tt)+) => {
        $crate::conformance! { @with [] $($fixture)+ }
    };
}

/// The one list of properties, and what is made of it.
#[doc(hidden)]
#[macro_export]
macro_rules! __properties {
    ($mode:ident $attributes:tt $fixture:tt) => {
        $crate::__properties! { @$mode $attributes $fixture
            a_value_is_read_back_byte_for_byte
            what_was_never_stored_is_not_found
            a_head_says_the_same_everywhere
            an_exact_version_is_read
            a_missing_version_is_told_from_a_missing_credential
            versions_come_newest_first
            each_version_keeps_its_own_description
            nothing_is_done_after_the_deadline
            the_capability_is_constant_and_lawful
            the_first_version_is_one
            only_the_next_version_is_accepted
            retention_drops_the_oldest_first
            the_current_version_is_never_dropped
            retention_is_bounded_by_the_capability
            a_put_without_tags_keeps_them
            every_phase_is_kept
            what_is_revoked_stays_so
            the_longest_payload_is_kept_and_no_longer_one
            plain_values_need_a_store_that_encrypts
            the_longest_names_and_most_tags_are_kept
            a_deleted_credential_is_hidden_but_has_a_head
            deleting_twice_is_not_found
            a_restored_credential_is_as_it_was
            only_a_deleted_credential_is_restored
            storing_onto_a_deleted_credential_starts_anew
            a_purge_leaves_nothing
            a_version_number_is_never_used_again
            a_purge_forgets_the_tags
            an_abandoned_deletion_is_never_half_done
            if_absent_needs_absence
            if_version_needs_that_version
            a_deletion_obeys_its_precondition
            an_update_obeys_its_precondition
            a_repeated_token_answers_as_before
            a_token_belongs_to_one_credential
            a_token_outlives_later_changes
            a_refused_change_does_not_use_its_token_up
            an_update_changes_only_what_it_names
            tags_are_kept_as_written
            times_are_kept_to_the_microsecond
            changes_are_dated_by_the_clock_of_the_request
            a_rewrite_changes_only_the_payload
            a_rewrite_needs_the_exact_old_bytes
            a_rewrite_reaches_deleted_credentials
            a_scan_reads_every_payload_once
            a_list_is_ordered_by_scope_and_name
            pages_are_full_and_exact
            a_cursor_outlives_its_entry
            the_scope_filter_is_exact
            a_prefix_is_no_pattern
            all_wanted_tags_must_match
            the_expiry_filter_is_strict
            deleted_entries_are_listed_on_request
            filters_combine
            a_list_among_writers_misses_nothing
            a_tenant_learns_nothing_of_another
            tenants_do_not_share_a_name
            scopes_do_not_share_a_name
            addresses_never_collide
            one_of_many_writers_wins
            no_increment_is_lost
            one_of_many_rewrites_wins
            a_token_sent_at_once_is_applied_once
            a_reader_never_sees_half_a_write
            neighbours_do_not_disturb_each_other
            an_abandoned_put_is_never_half_done
            what_was_acknowledged_survives_a_restart
            a_second_handle_sees_every_write_at_once
            two_handles_lose_no_increment
        }
    };
    (@tests $attributes:tt $fixture:tt $($name:ident)*) => {
        $($crate::__properties! { @test $attributes $fixture $name })*
    };
    (@test [$(#[$attribute:meta])*] [$fixture:expr] $name:ident) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            $crate::run($fixture, $crate::properties::$name);
        }
    };
    (@list $attributes:tt $fixture:tt $($name:ident)*) => {
        /// Every property, for a harness of your own.
        pub const PROPERTIES: &[Property] = &[$(Property {
            name: stringify!($name),
            check: |fixture| Box::pin(properties::$name(fixture)),
        }),*];
    };
}

__properties! { list [] [] }

/// The properties, which together define what a store is. What a store says it cannot do, it must refuse.
pub mod properties {
    pub use super::changes::{
        a_rewrite_changes_only_the_payload, a_rewrite_needs_the_exact_old_bytes,
        a_rewrite_reaches_deleted_credentials, a_scan_reads_every_payload_once,
        an_update_changes_only_what_it_names, changes_are_dated_by_the_clock_of_the_request,
        tags_are_kept_as_written, times_are_kept_to_the_microsecond,
    };
    pub use super::conditions::{
        a_deletion_obeys_its_precondition, a_refused_change_does_not_use_its_token_up,
        a_repeated_token_answers_as_before, a_token_belongs_to_one_credential,
        a_token_outlives_later_changes, an_update_obeys_its_precondition, if_absent_needs_absence,
        if_version_needs_that_version,
    };
    pub use super::isolation::{
        a_tenant_learns_nothing_of_another, addresses_never_collide, scopes_do_not_share_a_name,
        tenants_do_not_share_a_name,
    };
    pub use super::lists::{
        a_cursor_outlives_its_entry, a_list_among_writers_misses_nothing,
        a_list_is_ordered_by_scope_and_name, a_prefix_is_no_pattern, all_wanted_tags_must_match,
        deleted_entries_are_listed_on_request, filters_combine, pages_are_full_and_exact,
        the_expiry_filter_is_strict, the_scope_filter_is_exact,
    };
    pub use super::puts::{
        a_put_without_tags_keeps_them, every_phase_is_kept, only_the_next_version_is_accepted,
        plain_values_need_a_store_that_encrypts, retention_drops_the_oldest_first,
        retention_is_bounded_by_the_capability, the_current_version_is_never_dropped,
        the_first_version_is_one, the_longest_names_and_most_tags_are_kept,
        the_longest_payload_is_kept_and_no_longer_one, what_is_revoked_stays_so,
    };
    pub use super::reads::{
        a_head_says_the_same_everywhere, a_missing_version_is_told_from_a_missing_credential,
        a_value_is_read_back_byte_for_byte, an_exact_version_is_read, each_version_keeps_its_own_description,
        nothing_is_done_after_the_deadline, the_capability_is_constant_and_lawful,
        versions_come_newest_first, what_was_never_stored_is_not_found,
    };
    pub use super::removal::{
        a_deleted_credential_is_hidden_but_has_a_head, a_purge_forgets_the_tags, a_purge_leaves_nothing,
        a_restored_credential_is_as_it_was, a_version_number_is_never_used_again,
        an_abandoned_deletion_is_never_half_done, deleting_twice_is_not_found,
        only_a_deleted_credential_is_restored, storing_onto_a_deleted_credential_starts_anew,
    };
    pub use super::together::{
        a_reader_never_sees_half_a_write, a_second_handle_sees_every_write_at_once,
        a_token_sent_at_once_is_applied_once, an_abandoned_put_is_never_half_done,
        neighbours_do_not_disturb_each_other, no_increment_is_lost, one_of_many_rewrites_wins,
        one_of_many_writers_wins, two_handles_lose_no_increment, what_was_acknowledged_survives_a_restart,
    };
}
