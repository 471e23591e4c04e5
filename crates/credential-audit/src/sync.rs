//! Syncs the log in groups, on a thread of its own.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nebula_credential_core::CredentialError;
use tokio::sync::watch;

use crate::turn::Turn;
use crate::unavailable;

/// How long a record waits for others to be synced with it, if nobody waits for it.
pub(crate) const GROUP: Duration = Duration::from_millis(5);
/// How long a caller waits for its record to be synced.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(crate) struct Syncer {
    shared: Arc<Shared>,
}

struct Shared {
    turn: Arc<Turn>,
    state: Mutex<State>,
    news: Condvar,
    synced: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<File>>,
    written: u64,
    synced: u64,
    urgent: bool,
    failed: bool,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syncer {
    /// Syncs what is written by those who take `turn`.
    pub(crate) fn start(turn: Arc<Turn>) -> Result<Self, CredentialError> {
        let shared = Arc::new(Shared {
            turn,
            state: Mutex::default(),
            news: Condvar::new(),
            synced: watch::Sender::new(0),
        });
        let work = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("credential-audit".to_owned())
            .spawn(move || work.run())
            .map_err(|_| unavailable("the system has no thread left for the log; raise `ulimit -u`"))?;
        Ok(Self { shared })
    }

    /// Says that the record `seq` was written to `file`, so all before it as well.
    pub(crate) fn written(&self, seq: u64, file: &Arc<File>) -> Result<(), CredentialError> {
        let mut state = self.shared.state();
        if state.failed {
            return Err(failed());
        }
        let idle = state.written <= state.synced;
        state.written = state.written.max(seq);
        if !state.file.as_ref().is_some_and(|known| Arc::ptr_eq(known, file)) {
            // The file before was synced when it was completed.
            state.file = Some(Arc::clone(file));
        }
        drop(state);
        if idle {
            self.shared.news.notify_one();
        }
        Ok(())
    }

    /// Waits until the record `seq` is synced.
    pub(crate) async fn synced(&self, seq: u64) -> Result<(), CredentialError> {
        let mut synced = self.shared.synced.subscribe();
        {
            let mut state = self.shared.state();
            state.urgent = true;
            self.shared.news.notify_one();
        }
        let done = async {
            loop {
                if *synced.borrow_and_update() >= seq {
                    return Ok(());
                }
                if self.shared.state().failed || synced.changed().await.is_err() {
                    return Err(failed());
                }
            }
        };
        if tokio::runtime::Handle::try_current().is_err() {
            // Without a runtime there are no timers.
            return done.await;
        }
        tokio::time::timeout(PATIENCE, done)
            .await
            .unwrap_or_else(|_| Err(unavailable("the disk of the log does not answer")))
    }
}

/// After a failed sync the system may have dropped what it could not write, and report success on the next try.
fn failed() -> CredentialError {
    unavailable("the log could not be synced; check its disk, and start the program again")
}

impl Shared {
    fn run(&self) {
        let mut state = self.state();
        loop {
            if state.written > state.synced && !state.failed {
                if !state.urgent && !state.closed {
                    let (next, _) = self
                        .news
                        .wait_timeout_while(state, GROUP, |state| !state.urgent && !state.closed)
                        .unwrap_or_else(PoisonError::into_inner);
                    state = next;
                }
                state.urgent = false;
                let (file, target) = (state.file.clone(), state.written);
                drop(state);
                self.turn.pause();
                let done = file.is_none_or(|file| file.sync_data().is_ok());
                state = self.state();
                state.failed = !done;
                if done {
                    self.turn.resume();
                    state.synced = target;
                }
                self.synced.send_modify(|synced| *synced = state.synced);
            } else if state.closed {
                return;
            } else {
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.news.notify_one();
    }
}
