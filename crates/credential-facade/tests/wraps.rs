//! How often a key has wrapped is recorded for the processes to come.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use nebula_credential::prelude::*;

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn manager(directory: &Path) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
        .build()
}

/// What a manager that has wrapped nothing itself knows of the primary key.
async fn recorded(directory: &Path) -> u64 {
    let ring = manager(directory).key_ring().await.unwrap();
    ring.ring().status().epochs.last().unwrap().wraps
}

#[tokio::test]
async fn a_process_records_its_wraps_each_4096() {
    const WRITERS: usize = 64;
    let directory = tempfile::tempdir().unwrap();
    let storing = manager(directory.path());
    let store = |count: usize| {
        let writers = (0..WRITERS).map(|writer| {
            let storing = storing.clone();
            tokio::spawn(async move {
                for _ in 0..count {
                    let text = String::from("one");
                    storing
                        .store(format!("note-{writer}"), Note { text })
                        .await
                        .unwrap();
                }
            })
        });
        writers.collect::<Vec<_>>()
    };
    for writer in store(63) {
        writer.await.unwrap();
    }
    assert_eq!(recorded(directory.path()).await, 0, "few wraps write no ring");
    for writer in store(2) {
        writer.await.unwrap();
    }
    // Whoever stored does not wait for it.
    let begun = Instant::now();
    while recorded(directory.path()).await < 4_096 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the wraps are recorded"
        );
    }
}

#[tokio::test]
async fn a_job_on_the_whole_store_records_its_wraps_as_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(directory.path());
    for number in 0..64 {
        let text = String::from("one");
        manager
            .store(format!("note-{number}"), Note { text })
            .await
            .unwrap();
    }
    for _ in 0..63 {
        assert_eq!(manager.re_encrypt_all(|_| ()).await.unwrap().rewritten, 64);
    }
    // At once: the process may end with the job.
    assert_eq!(recorded(directory.path()).await, 4_096);
}
