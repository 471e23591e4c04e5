use std::sync::Weak;

use nebula_credential_core::{
    CredentialName, Phase, PolicyEpoch, RecordHead, Scope, Tags, TenantId, VersionHead,
};

use super::*;

fn id(name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new(name).unwrap(),
    )
}

fn state(config: CacheBuilder) -> Arc<State> {
    Arc::new(State::new(config).unwrap())
}

fn record(name: &str) -> Record<Plaintext> {
    let now = OpContext::default().now();
    let version = VersionHead {
        version: Version::FIRST,
        credential_type: "note".into(),
        schema_version: 1,
        created_at: now,
        expires_at: None,
    };
    let head = RecordHead {
        id: id(name),
        version,
        latest: Version::FIRST,
        phase: Phase::Active,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        tags: Tags::new(),
    };
    let payload = Plaintext::new(b"hunter2".to_vec());
    Record { head, payload }
}

/// Keeps a value; what is returned tells whether it is in memory still.
fn keep(state: &Arc<State>, name: &str) -> Weak<Body> {
    let key = Key::latest(&id(name));
    let stamp = state.fence.stamp(&id(name)).unwrap();
    let record = record(name);
    let body = state.seal(&key, &stamp, &record).unwrap();
    state
        .keep_value(&key, stamp, record.head.created_at, &body)
        .unwrap();
    Arc::downgrade(&body)
}

fn is_served(state: &State, name: &str) -> bool {
    matches!(
        state.find(&Key::latest(&id(name)), &OpContext::default()),
        Found::Answer(Ok(_))
    )
}

#[test]
fn what_is_due_leaves_memory_at_once_and_the_rest_says_when_it_is() {
    let state = state(CacheBuilder::default());
    let value = keep(&state, "db");
    let now = Instant::now();
    let due = state.reap(now).unwrap();
    let wait = due.saturating_duration_since(now);
    assert!(
        wait <= Duration::from_secs(60) && wait > Duration::from_secs(50),
        "{wait:?}"
    );
    assert!(is_served(&state, "db") && value.upgrade().is_some());
    assert_eq!(state.reap(due), None);
    assert!(value.upgrade().is_none());
    assert!(!is_served(&state, "db"));
}

#[test]
fn what_is_no_longer_current_leaves_memory_unasked() {
    let epoch = PolicyEpoch::default();
    let state = state(CacheBuilder::default().policy_epoch(epoch.clone()));
    let value = keep(&state, "db");
    epoch.advance();
    assert_eq!(state.reap(Instant::now()), None);
    assert!(value.upgrade().is_none());
    assert_eq!(state.tally.stats(state.count()).evictions, 1);
}

#[test]
fn a_write_a_rejection_a_lack_of_room_and_the_end_wipe_at_once() {
    let state = state(CacheBuilder::default().max_entries(2));
    let written = keep(&state, "written");
    state.changed(&id("written"));
    assert!(written.upgrade().is_none());
    let rejected = keep(&state, "rejected");
    state.rejected(&id("rejected"), Version::FIRST);
    assert!(rejected.upgrade().is_none());
    let values: Vec<_> = (0..10).map(|n| keep(&state, &format!("n{n}"))).collect();
    let alive = |values: &[Weak<Body>]| values.iter().filter(|value| value.upgrade().is_some()).count();
    assert_eq!(alive(&values), 2);
    drop(state);
    // The reaper may hold the cache for a moment.
    let end = Instant::now() + Duration::from_secs(10);
    while alive(&values) > 0 {
        assert!(Instant::now() < end, "a dropped cache holds values");
        std::thread::yield_now();
    }
}

#[test]
fn a_forked_child_keeps_nothing_and_wipes_what_its_parent_kept() {
    let mut state = State::new(CacheBuilder::default()).unwrap();
    let (key, kept) = (Key::latest(&id("db")), record("db"));
    let stamp = state.fence.stamp(&key.id).unwrap();
    let body = state.seal(&key, &stamp, &kept).unwrap();
    // In a child all is as in the parent, but the process.
    state.process ^= 1;
    let state = Arc::new(state);
    state
        .keep_value(&key, stamp, kept.head.created_at, &body)
        .unwrap();
    let value = Arc::downgrade(&body);
    drop(body);
    assert!(is_served(&state, "db"));

    let (other, record) = (Key::latest(&id("other")), record("other"));
    let stamp = state.fence.stamp(&other.id).unwrap();
    let sealed = state.seal(&other, &stamp, &record);
    assert_eq!(sealed.err(), Some(NotKept::Forked));
    assert!(value.upgrade().is_none());
    assert!(!is_served(&state, "db"));
}
