//! Rewrapping and re-encryption of a whole store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nebula_credential_core::{
    Clock, CredentialError, Delete, DeleteMode, ErrorKind, Op, OpContext, Precondition, Principal, Restore,
    Sealed, Version,
};
use nebula_credential_crypto::{
    EncryptLayer, Epoch, EpochState, EpochUse, KeyJob, KeyRing, Place, RingDraft, Sealer, Suite,
};
use tower::Layer as _;

use crate::common::store::MemoryStore;
use crate::common::{Row, change, id, key_file, ring, time};
use crate::layer::{call, get, put};

struct At(i64);

impl Clock for At {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        time(self.0)
    }
}

fn at(seconds: i64) -> OpContext {
    OpContext::new(Principal::Process, Arc::new(At(seconds)))
}

/// `count` records of three versions each, in two tenants; the first is soft-deleted.
async fn filled(store: &MemoryStore, ring: &KeyRing, count: usize) -> Vec<Row> {
    let mut stack = EncryptLayer::new(ring.clone()).layer(store.handle());
    let mut rows = Vec::new();
    for number in 0..count {
        let tenant = if number % 2 == 0 { "acme" } else { "default" };
        for version in 1..4 {
            let mut row = Row::new("x");
            row.id = id(tenant, "global", &format!("r{number:04}"));
            row.version.version = Version::new(version).unwrap();
            call(&mut stack, put(&row, &secret(&row))).await.unwrap();
            rows.push(row);
        }
    }
    let delete = Op::Delete(Delete {
        id: rows[0].id.clone(),
        mode: DeleteMode::Soft,
        precondition: Precondition::None,
    });
    call(&mut stack, delete).await.unwrap();
    rows
}

fn secret(row: &Row) -> Vec<u8> {
    format!("{} {}", row.id, row.version.version).into_bytes()
}

fn check_all(store: &MemoryStore, ring: &KeyRing, rows: &[Row]) -> BTreeSet<Epoch> {
    let sealer = Sealer::new(ring.clone());
    let stored = store.all();
    assert_eq!(stored.len(), rows.len());
    stored
        .iter()
        .map(|(id, version, sealed)| {
            let place = Place { id, version };
            let opened = sealer.open(place, sealed).unwrap();
            let expected = format!("{id} {}", version.version);
            assert_eq!(opened.expose(), expected.as_bytes());
            sealer.epoch_of(sealed).unwrap().unwrap()
        })
        .collect()
}

async fn rewrap(store: &MemoryStore, ring: &KeyRing) -> nebula_credential_crypto::JobReport {
    KeyJob::rewrap(store.handle(), ring.clone(), at(10))
        .run(|_| ())
        .await
        .unwrap()
}

#[tokio::test]
async fn after_rotation_and_rewrap_the_old_key_can_go_and_all_is_readable() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let rows = filled(&store, &ring, 50).await;
    let old = ring.status().epochs[0].epoch;
    let new = change(&ring, |draft| draft.rotate(time(100))).unwrap();

    let used = EpochUse::scan(&store.handle(), &ring, &at(1000)).await.unwrap();
    assert_eq!(used.count(old), 150);
    let error = change(&ring, |draft| draft.destroy_epoch(old, &used)).unwrap_err();
    assert!(error.to_string().contains("rewrap"), "{error}");

    let mut pages = 0;
    let report = KeyJob::rewrap(store.handle(), ring.clone(), at(200))
        .run(|progress| {
            pages += 1;
            assert_eq!(progress.scanned, progress.rewritten);
        })
        .await
        .unwrap();
    assert_eq!((report.scanned, report.rewritten, report.failed), (150, 150, 0));
    assert!(pages > 1);
    assert_eq!(check_all(&store, &ring, &rows), BTreeSet::from([new]));
    let again = rewrap(&store, &ring).await;
    assert_eq!((again.scanned, again.rewritten, again.current), (150, 0, 150));

    // Another process may still have written under the old key a moment after the rotation.
    let early = EpochUse::scan(&store.handle(), &ring, &at(100 + 299))
        .await
        .unwrap();
    assert_eq!(early.count(old), 0);
    let error = change(&ring, |draft| draft.destroy_epoch(old, &early)).unwrap_err();
    assert!(error.to_string().contains("scan again later"), "{error}");
    let late = EpochUse::scan(&store.handle(), &ring, &at(100 + 301))
        .await
        .unwrap();
    assert!(
        change(&ring, |draft| draft.destroy_epoch(new, &late)).is_err(),
        "the primary one"
    );
    change(&ring, |draft| draft.destroy_epoch(old, &late)).unwrap();
    assert_eq!(ring.status().epochs[0].state, EpochState::Destroyed);

    // A soft-deleted record comes back and is readable though its first key is gone.
    let again = KeyRing::unlock(&ring.to_bytes(), &key_file(1)).unwrap();
    let mut stack = EncryptLayer::new(again).layer(store.handle());
    let restore = Op::Restore(Restore {
        id: rows[0].id.clone(),
    });
    call(&mut stack, restore).await.unwrap();
    let record = call(&mut stack, get(&rows[2]))
        .await
        .unwrap()
        .into_record()
        .unwrap();
    assert_eq!(record.payload.expose(), secret(&rows[2]));
}

#[tokio::test]
async fn a_full_ring_forgets_a_destroyed_epoch_to_rotate() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let fill = |draft: &mut RingDraft<'_>| (1..512).try_for_each(|_| draft.rotate(time(1)).map(drop));
    change(&ring, fill).unwrap();
    let first = ring.status().epochs[0].epoch;
    assert!(change(&ring, |draft| draft.rotate(time(2))).is_err());
    let used = EpochUse::scan(&store.handle(), &ring, &at(1000)).await.unwrap();
    change(&ring, |draft| draft.destroy_epoch(first, &used)).unwrap();
    let last = change(&ring, |draft| draft.rotate(time(2))).unwrap();
    let status = ring.status();
    assert_eq!((status.epochs.len(), last.get()), (512, 513));
    assert!(status.epochs.iter().all(|epoch| epoch.epoch != first));
    assert!(KeyRing::unlock(&ring.to_bytes(), &key_file(1)).is_ok());
}

#[tokio::test]
async fn a_scan_for_another_ring_proves_nothing() {
    let store = MemoryStore::default();
    let (one, two) = (ring(Suite::default()), ring(Suite::default()));
    filled(&store, &one, 1).await;
    change(&one, |draft| draft.rotate(time(1))).unwrap();
    let old = one.status().epochs[0].epoch;
    let used = EpochUse::scan(&store.handle(), &two, &at(1000)).await.unwrap();
    assert_eq!((used.count(old), used.foreign()), (0, 3));
    let error = change(&one, |draft| draft.destroy_epoch(old, &used)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_record_of_a_newer_format_may_need_a_key_and_keeps_it() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let rows = filled(&store, &ring, 2).await;
    let old = ring.status().epochs[0].epoch;
    change(&ring, |draft| draft.rotate(time(1))).unwrap();
    rewrap(&store, &ring).await;
    let whole = store.payload(&rows[0].id, 1);
    // The format version, and the suite.
    for at_byte in [8, 10] {
        let mut newer = whole.clone();
        newer[at_byte] = 9;
        store.overwrite(&rows[0].id, 1, &newer);
        let used = EpochUse::scan(&store.handle(), &ring, &at(1000)).await.unwrap();
        assert_eq!((used.count(old), used.unreadable()), (0, 1));
        let error = change(&ring, |draft| draft.destroy_epoch(old, &used)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
    store.overwrite(&rows[0].id, 1, &whole);
    let used = EpochUse::scan(&store.handle(), &ring, &at(1000)).await.unwrap();
    change(&ring, |draft| draft.destroy_epoch(old, &used)).unwrap();
}

#[tokio::test]
async fn a_job_killed_at_any_step_is_finished_by_the_next() {
    for step in [0, 1, 63, 64, 65, 149] {
        let store = MemoryStore::default();
        let ring = ring(Suite::default());
        let rows = filled(&store, &ring, 50).await;
        let new = change(&ring, |draft| draft.rotate(time(1))).unwrap();
        let left = AtomicUsize::new(step);
        store.before_rewrite(move |_, _| {
            match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Ok(()),
                Err(_) => Err(CredentialError::storage("killed")),
            }
        });
        let mut cursor = None;
        let killed = KeyJob::rewrap(store.handle(), ring.clone(), at(2))
            .run(|progress| cursor.clone_from(&progress.cursor))
            .await;
        assert_eq!(killed.unwrap_err(), CredentialError::storage("killed"));
        check_all(&store, &ring, &rows);

        store.before_rewrite(|_, _| Ok(()));
        let mut job = KeyJob::rewrap(store.handle(), ring.clone(), at(3));
        if let Some(cursor) = cursor {
            job = job.resume(cursor);
        }
        let report = job.run(|_| ()).await.unwrap();
        assert_eq!(report.rewritten as usize, 150 - step);
        assert_eq!(report.scanned as usize, 150 - step / 64 * 64);
        assert_eq!(check_all(&store, &ring, &rows), BTreeSet::from([new]));
    }
}

#[tokio::test]
async fn two_jobs_at_once_do_no_harm() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let rows = filled(&store, &ring, 40).await;
    let new = change(&ring, |draft| draft.rotate(time(1))).unwrap();
    // Before each rewrite of one job, another gets at the same payload: every step of the first is a conflict.
    let sealer = Sealer::new(ring.clone());
    store.before_rewrite(move |store, op| {
        let (_, version, sealed) = store
            .all()
            .into_iter()
            .find(|(id, version, _)| *id == op.id && version.version == op.version)
            .unwrap();
        let place = Place {
            id: &op.id,
            version: &version,
        };
        if let Some(rewrapped) = sealer.rewrap(place, &sealed)? {
            store.overwrite(&op.id, op.version.get(), rewrapped.as_envelope().unwrap());
        }
        Ok(())
    });
    let report = rewrap(&store, &ring).await;
    assert_eq!((report.rewritten, report.current, report.failed), (0, 120, 0));
    assert_eq!(check_all(&store, &ring, &rows), BTreeSet::from([new]));
}

#[tokio::test]
async fn what_vanishes_meanwhile_is_no_failure() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let rows = filled(&store, &ring, 3).await;
    change(&ring, |draft| draft.rotate(time(1))).unwrap();
    let victim = rows[3].id.clone();
    let purged = victim.clone();
    store.before_rewrite(move |store, op| {
        if op.id == purged {
            store.purge(&purged);
        }
        Ok(())
    });
    let report = rewrap(&store, &ring).await;
    assert_eq!((report.scanned, report.rewritten, report.gone), (9, 6, 3));
}

#[tokio::test]
async fn a_payload_that_cannot_be_opened_is_reported_and_stops_nothing() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let rows = filled(&store, &ring, 3).await;
    change(&ring, |draft| draft.rotate(time(1))).unwrap();
    let row = &rows[4];
    let mut bytes = store.payload(&row.id, 2);
    bytes[81 + 25 + 40] ^= 1;
    store.overwrite(&row.id, 2, &bytes);
    let report = rewrap(&store, &ring).await;
    assert_eq!((report.rewritten, report.failed), (8, 1));
    assert_eq!(
        report.failures,
        [(row.id.clone(), row.version.version, CredentialError::Tampered)]
    );
}

#[tokio::test]
async fn re_encryption_gives_every_payload_a_fresh_key() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let rows = filled(&store, &ring, 30).await;
    let salts = |store: &MemoryStore| -> BTreeSet<Vec<u8>> {
        store
            .all()
            .iter()
            .map(|(_, _, sealed)| sealed.as_envelope().unwrap()[13..45].to_vec())
            .collect()
    };
    let before = salts(&store);
    let new = change(&ring, |draft| draft.rotate(time(1))).unwrap();
    let report = KeyJob::re_encrypt(store.handle(), ring.clone(), at(2))
        .run(|_| ())
        .await
        .unwrap();
    assert_eq!((report.scanned, report.rewritten), (90, 90));
    let after = salts(&store);
    assert_eq!(after.len(), 90);
    assert!(before.is_disjoint(&after));
    assert_eq!(check_all(&store, &ring, &rows), BTreeSet::from([new]));
}

/// A job of the one kind beside a job of the other: a rewrap that slips in between must not save an old data key.
#[tokio::test]
async fn re_encryption_survives_a_rewrap_beside_it() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    filled(&store, &ring, 2).await;
    change(&ring, |draft| draft.rotate(time(1))).unwrap();
    let old: BTreeSet<Vec<u8>> = store
        .all()
        .iter()
        .map(|(_, _, sealed)| sealed.as_envelope().unwrap()[13..45].to_vec())
        .collect();
    let sealer = Sealer::new(ring.clone());
    let first = AtomicUsize::new(0);
    store.before_rewrite(move |store, op| {
        if first.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            let (id, version, sealed): (_, _, Sealed) = store
                .all()
                .into_iter()
                .find(|(id, version, _)| *id == op.id && version.version == op.version)
                .unwrap();
            let place = Place {
                id: &id,
                version: &version,
            };
            if let Some(rewrapped) = sealer.rewrap(place, &sealed)? {
                store.overwrite(&id, version.version.get(), rewrapped.as_envelope().unwrap());
            }
        }
        Ok(())
    });
    let report = KeyJob::re_encrypt(store.handle(), ring, at(2))
        .run(|_| ())
        .await
        .unwrap();
    assert_eq!(report.rewritten, 6);
    assert!(
        store
            .all()
            .iter()
            .all(|(_, _, sealed)| !old.contains(&sealed.as_envelope().unwrap()[13..45]))
    );
}

#[tokio::test]
async fn writers_go_on_beside_a_job() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    let mut rows = filled(&store, &ring, 20).await;
    change(&ring, |draft| draft.rotate(time(1))).unwrap();
    let writer = {
        let (store, ring) = (store.clone(), ring.clone());
        async move {
            let mut stack = EncryptLayer::new(ring).layer(store.handle());
            let mut written = Vec::new();
            for number in 0..50 {
                let mut row = Row::new("x");
                row.id = id("acme", "global", &format!("n{number:04}"));
                call(&mut stack, put(&row, &secret(&row))).await.unwrap();
                written.push(row);
                tokio::task::yield_now().await;
            }
            written
        }
    };
    let job = KeyJob::rewrap(store.handle(), ring.clone(), at(2)).run(|_| ());
    let (written, report) = tokio::join!(writer, job);
    assert_eq!(report.unwrap().failed, 0);
    rows.extend(written);
    rewrap(&store, &ring).await;
    assert_eq!(check_all(&store, &ring, &rows).len(), 1);
}

#[tokio::test]
async fn other_tasks_run_between_the_steps_of_a_job() {
    let store = MemoryStore::default();
    let ring = ring(Suite::default());
    filled(&store, &ring, 30).await;
    change(&ring, |draft| draft.rotate(time(1))).unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    store.before_rewrite({
        let (turns, seen) = (Arc::clone(&turns), Arc::clone(&seen));
        move |_, _| {
            seen.lock().unwrap().insert(turns.load(Ordering::Relaxed));
            Ok(())
        }
    });
    let other = async {
        loop {
            turns.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::select! {
        biased;
        () = other => None,
        report = rewrap(&store, &ring) => Some(report),
    };
    assert_eq!(report.unwrap().rewritten, 90);
    assert_eq!(seen.lock().unwrap().len(), 90);
}
