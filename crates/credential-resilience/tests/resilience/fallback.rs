//! Stores behind one another, and the suite that says what a store is.

use std::sync::Arc;

use nebula_credential_core::{
    CredentialError, Delete, DeleteMode, ErrorKind, List, Op, OpContext, Precondition, Report, Sealed,
    Source, StoreHandle, TenantId,
};
use nebula_credential_provider_local::LocalStorage;
use nebula_credential_resilience::FallbackStore;
use nebula_credential_testkit::{Fault, FaultStore, Fixture, TestClock};

use crate::support::{call, context, faulty, get, id, put, unavailable, value};

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let open = move || {
        let path = path.clone();
        async move {
            let link = |name: &str| StoreHandle::new(LocalStorage::new(path.join(name)));
            StoreHandle::new(FallbackStore::new("first", link("first")).then("second", link("second")))
        }
    };
    Fixture::new(open().await).reopen_with(open).guarded_by(dir)
}

nebula_credential_testkit::conformance!(fixture);

struct Two {
    first: FaultStore,
    second: FaultStore,
    ctx: OpContext,
}

impl Two {
    fn new() -> Self {
        Self {
            first: faulty(),
            second: faulty(),
            ctx: context(&TestClock::new()),
        }
    }

    fn chain(&self) -> FallbackStore {
        FallbackStore::new("first", self.first.handle()).then("second", self.second.handle())
    }

    async fn store(&self, link: &FaultStore, name: &str, value: &str) {
        call(&link.handle(), &self.ctx, put(name, 1, value, None))
            .await
            .unwrap();
    }

    async fn ask(&self, chain: FallbackStore, op: Op<Sealed>) -> crate::support::Answer {
        call(&StoreHandle::new(chain), &self.ctx, op).await
    }

    async fn names(&self, limit: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut list = List::of(TenantId::default());
        list.limit = limit;
        loop {
            let page = self
                .ask(self.chain(), Op::List(list.clone()))
                .await
                .unwrap()
                .into_page()
                .unwrap();
            assert!(page.items.len() <= limit);
            names.extend(page.items.iter().map(|head| head.id.name().to_string()));
            match page.next {
                Some(next) => list.after = Some(next),
                None => return names,
            }
        }
    }
}

#[tokio::test]
async fn what_is_absent_is_looked_for_in_the_next_and_the_answer_says_where_it_was() {
    let mut two = Two::new();
    two.store(&two.first, "both", "new").await;
    two.store(&two.second, "both", "old").await;
    two.store(&two.second, "second", "there").await;
    for (name, expected, link) in [("both", "new", "first"), ("second", "there", "second")] {
        let report = Arc::new(Report::default());
        two.ctx.report = Some(Arc::clone(&report));
        assert_eq!(value(two.ask(two.chain(), get(name)).await), expected);
        assert_eq!(report.source(), Some(&Source::Link(link.into())));
    }
    assert!(
        two.ask(two.chain(), get("none"))
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn what_was_deleted_or_denied_or_damaged_is_not_looked_for_elsewhere() {
    // Stores that can undo a deletion.
    let dir = tempfile::tempdir().unwrap();
    let local = |name| FaultStore::new(StoreHandle::new(LocalStorage::new(dir.path().join(name))));
    let two = Two {
        first: local("first"),
        second: local("second"),
        ctx: context(&TestClock::new()),
    };
    two.store(&two.first, "db", "new").await;
    two.store(&two.second, "db", "old").await;
    for error in [
        CredentialError::access_denied("no"),
        CredentialError::Tampered,
        CredentialError::storage("the disk is broken"),
    ] {
        two.first.once("get", Fault::Refuse(error.clone()));
        assert_eq!(two.ask(two.chain(), get("db")).await.unwrap_err(), error);
    }
    let delete = Op::Delete(Delete {
        id: id("db"),
        mode: DeleteMode::Soft,
        precondition: Precondition::None,
    });
    two.ask(two.chain().past_unreachable(), delete).await.unwrap();
    let error = two
        .ask(two.chain().past_unreachable(), get("db"))
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    // It is hidden in lists as well.
    assert!(two.names(10).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_reached_is_passed_by_only_when_told() {
    let two = Two::new();
    two.store(&two.first, "first", "there").await;
    two.store(&two.second, "second", "there").await;
    let away = Fault::Refuse(unavailable(None));
    two.first.always("get", away.clone());
    two.first.always("head", away);
    for name in ["first", "second"] {
        let error = two.ask(two.chain(), get(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    let told = || two.chain().past_unreachable();
    assert_eq!(value(two.ask(told(), get("second")).await), "there");
    // Absent from the one that answered is not absent.
    let error = two.ask(told(), get("first")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // A change must know where the credential is.
    let error = two.ask(told(), put("second", 2, "new", None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn changes_go_where_the_credential_is_and_new_ones_into_the_first() {
    let two = Two::new();
    two.store(&two.second, "second", "old").await;
    two.ask(two.chain(), put("second", 2, "new", None)).await.unwrap();
    two.ask(two.chain(), put("fresh", 1, "here", None)).await.unwrap();
    assert_eq!(
        value(call(&two.second.handle(), &two.ctx, get("second")).await),
        "new"
    );
    assert_eq!(
        value(call(&two.first.handle(), &two.ctx, get("fresh")).await),
        "here"
    );
    assert!(call(&two.first.handle(), &two.ctx, get("second")).await.is_err());
}

#[tokio::test]
async fn lists_are_merged_in_pages_of_any_size() {
    let two = Two::new();
    let mut expected = Vec::new();
    for i in 0..23 {
        let name = format!("name-{i:02}");
        if i % 3 != 1 {
            two.store(&two.first, &name, "first").await;
        }
        if i % 5 != 2 || i % 3 == 1 {
            two.store(&two.second, &name, "second").await;
        }
        expected.push(name);
    }
    for limit in 1..30 {
        assert_eq!(two.names(limit).await, expected, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_store_that_is_lost_while_it_is_asked_is_gone_past_only_when_told() {
    let two = Two::new();
    two.store(&two.second, "n", "there").await;
    two.first.always("head", Fault::Refuse(unavailable(None)));
    let error = two.ask(two.chain(), get("n")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        value(two.ask(two.chain().past_unreachable(), get("n")).await),
        "there"
    );
}
