//! The thread that all clones of a store share, and how it is asked.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use nebula_credential_core::{ChangeCounters, CredentialError, CredentialRef};

use crate::counters::Counters;
use crate::doubt::Doubt;
use crate::group::Change;
use crate::home::Home;
use crate::pool::Pool;
use crate::queue::Queue;
use crate::reply::{Reply, reply};
use crate::writer::Writer;

pub(crate) enum Task {
    Change(Box<dyn Change>),
    /// Anything else that takes the thread.
    Work(Box<dyn FnOnce(&Shared) + Send>),
    /// Settles what a dead writer left.
    Settle,
    /// Lets go of the connection that writes.
    Close(Reply<Result<(), CredentialError>>),
}

pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    create: bool,
    home: OnceLock<Home>,
    /// Held while the store is opened.
    opening: Mutex<()>,
    pub(crate) readers: Pool,
    pub(crate) queue: Queue<Task>,
    /// The process the thread was started in, once it was.
    pub(crate) started: Mutex<Option<u32>>,
    doubt: Doubt,
}

/// What the store tells its caches.
pub(crate) struct Changes(pub(crate) Arc<Shared>);

impl Shared {
    pub(crate) fn at(path: &Path, create: bool) -> Self {
        Self {
            // Fails on an empty path, which opening refuses, and without a working directory.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            create,
            home: OnceLock::new(),
            opening: Mutex::new(()),
            readers: Pool::default(),
            queue: Queue::new(),
            started: Mutex::new(None),
            doubt: Doubt::default(),
        }
    }

    /// The open store; opened on the thread of the store if it is not yet.
    pub(crate) async fn opened(self: &Arc<Self>) -> Result<&Home, CredentialError> {
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        self.work_for(|shared| shared.open_here().map(|_| ())).await?;
        self.open_here()
    }

    /// The open store; opened on this thread if it is not yet.
    pub(crate) fn open_here(&self) -> Result<&Home, CredentialError> {
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        let (home, reader) = Home::open(&self.path, self.create)?;
        if let Some(reader) = reader {
            self.readers.give_back(reader);
        }
        Ok(self.home.get_or_init(|| home))
    }

    /// Has `work` done by the thread of the store.
    pub(crate) async fn work_for<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, CredentialError> + Send + 'static,
    ) -> Result<T, CredentialError> {
        let ask = |reply: Reply<_>| {
            Task::Work(Box::new(move |shared| {
                if !reply.is_abandoned() {
                    reply.send(work(shared));
                }
            }))
        };
        self.submit(ask).await
    }

    /// Has the thread of the store do what answers to the reply. A future that is dropped before its turn takes it back;
    /// later, it is done all the same.
    pub(crate) async fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(Reply<Result<T, CredentialError>>) -> Task,
    ) -> Result<T, CredentialError> {
        self.start()?;
        let (reply, answer) = reply();
        if self.queue.push(ask(reply)).await.is_err() {
            return Err(stopped());
        }
        match answer.await {
            Some(done) => done,
            None => Err(CredentialError::outcome_unknown(
                "the thread of the local store ended before it answered",
            )),
        }
    }

    /// Whether the thread of the store was started.
    pub(crate) fn is_at_work(&self) -> bool {
        self.started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    fn start(self: &Arc<Self>) -> Result<(), CredentialError> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::process::id();
        if started.is_some_and(|process| process != here) {
            return Err(CredentialError::unavailable(
                "this process was forked while the local store was in use, and its thread stayed behind; make a new \
                 LocalStorage after the fork",
            ));
        }
        if started.is_none() {
            let shared = Arc::clone(self);
            std::thread::Builder::new()
                .name("credential-store".to_owned())
                .spawn(move || shared.work())
                .map_err(|_| {
                    CredentialError::unavailable(
                        "the system has no thread left for the local store; raise `ulimit -u`",
                    )
                })?;
            *started = Some(here);
        }
        Ok(())
    }

    /// Has the thread of the store settle what a dead writer left; waits for nothing.
    fn settle(self: &Arc<Self>) {
        // A fork may have left it locked for good.
        let starts = self.started.try_lock().is_ok();
        if starts && self.start().is_ok() {
            // Not pushed into a full queue: the changes in it settle what is left.
            let push = std::pin::pin!(self.queue.push(Task::Settle));
            let _ = push.poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// A change that waits already, if it is the first in the queue.
    fn next_change(&self) -> Option<Box<dyn Change>> {
        match self.queue.pop_if(|task| matches!(task, Task::Change(_)))? {
            Task::Change(change) => Some(change),
            Task::Work(_) | Task::Settle | Task::Close(_) => None,
        }
    }

    fn work(&self) {
        // However this ends, nobody waits for ever.
        let _end = Abandon(&self.queue);
        let mut writer = Writer::default();
        while let Some(task) = self.queue.pop() {
            match task {
                Task::Work(work) => work(self),
                Task::Change(first) => match self.open_here() {
                    Ok(home) => writer.change(home, first, || self.next_change()),
                    Err(error) => first.tell(Some(error)),
                },
                Task::Settle => {
                    if let Some(home) = self.home.get() {
                        writer.settle(home);
                    }
                }
                Task::Close(reply) => {
                    if let Some(home) = self.home.get() {
                        writer.close(home);
                    }
                    reply.send(Ok(()));
                }
            }
            if let Some(home) = self.home.get() {
                writer.maintain(home, self.queue.is_empty());
            }
        }
        if let Some(home) = self.home.get() {
            writer.close(home);
        }
    }
}

impl ChangeCounters for Changes {
    fn counter_of(&self, id: &CredentialRef) -> usize {
        Counters::of(id)
    }

    /// Nothing before the store is open: then nothing was read of which there could be a copy.
    fn read(&self, counter: usize) -> Option<u64> {
        let counters = self.0.home.get()?.counters().ok()?;
        let stands = counters.read(counter);
        if stands.is_none() && self.0.doubt.is_due(Instant::now()) {
            self.0.settle();
        }
        stands
    }
}

fn stopped() -> CredentialError {
    CredentialError::unavailable("the local store was closed; open it again")
}

struct Abandon<'a>(&'a Queue<Task>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
