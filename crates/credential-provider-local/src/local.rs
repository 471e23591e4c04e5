use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nebula_credential_core::{
    Capability, ChangeCounters, CredentialError, CredentialRef, Delete, DeleteMode, Get, List, OpContext,
    Page, Put, Record, RecordHead, Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, Update,
    VersionHead,
};
use rusqlite::Connection;

use crate::counters::Counters;
use crate::error::Fault;
use crate::group::Asked;
use crate::list::{Listing, Scanning, Step};
use crate::thread::{Changes, Shared, Task};
use crate::{change, read};

/// The embedded store: a private directory with a SQLite database in it.
///
/// Clones share one store. Nothing is opened before the first use. Reads run where they are asked for and take
/// microseconds; everything that waits for the disk runs on a thread of the store, which ends with the last clone.
/// SQLite cannot be used across a `fork`: make the store after it.
#[derive(Clone)]
pub struct LocalStorage(Arc<Handle>);

/// The clones of one store. The thread holds the part inside only, so that it does not keep itself alive.
struct Handle {
    shared: Arc<Shared>,
}

impl LocalStorage {
    /// The store in the directory `path`, made on first use if it is not there: the directory with mode 0700, the files
    /// in it with 0600.
    ///
    /// A relative path is taken from the working directory of this moment.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self::at(path.as_ref(), true)
    }

    /// The store that is in the directory `path` already; nothing is made. For tools, where a mistyped path must not
    /// become a new store.
    pub fn existing(path: impl AsRef<Path>) -> Self {
        Self::at(path.as_ref(), false)
    }

    fn at(path: &Path, create: bool) -> Self {
        Self(Arc::new(Handle {
            shared: Arc::new(Shared::at(path, create)),
        }))
    }

    /// Opens the store now, rather than on first use.
    ///
    /// # Errors
    /// [`InsecureStorage`](CredentialError::InsecureStorage) when the directory or a file in it is a symbolic link,
    /// belongs to someone else, is open to others, or lies on a network file system;
    /// [`UnsupportedFormat`](CredentialError::UnsupportedFormat) when it is no store, or one of a newer version;
    /// [`Storage`](CredentialError::Storage) when the system refuses, or when there is no store and none is to be made.
    pub async fn open(&self) -> Result<(), CredentialError> {
        self.0.shared.opened().await.map(|_| ())
    }

    /// [`open`](Self::open) for code that is not async. Blocks.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_blocking(&self) -> Result<(), CredentialError> {
        self.0.shared.open_here().map(|_| ())
    }

    /// Lets go of the files: what was asked for before is done, the log of changes is written back into the database
    /// if it is long and nobody else writes or reads at that moment, and the connections are closed. A program that
    /// ends without it loses nothing, but leaves the log to whoever opens the store next, to be read first.
    ///
    /// The store can be used again, and is opened again then.
    pub async fn close(&self) {
        let shared = &self.0.shared;
        shared.readers.clear();
        if shared.is_at_work() {
            // A thread that ended has closed its connection.
            let _ = shared.submit(Task::Close).await;
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.shared.path
    }

    /// The number of changes made since the store exists, by every process.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and of reading.
    pub async fn generation(&self) -> Result<u64, CredentialError> {
        self.read(|conn| {
            let generation: i64 = conn
                .prepare_cached("SELECT generation FROM head")?
                .query_one([], |row| row.get(0))?;
            u64::try_from(generation).map_err(|_| Fault::damaged())
        })
        .await
    }

    /// Whether the file is whole: every page and index, and every record with its versions. That the versions are what
    /// was stored is not known without the key.
    ///
    /// Reads the whole store on the calling thread. For tools.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and of reading.
    pub async fn is_intact(&self) -> Result<bool, CredentialError> {
        self.read(crate::check::is_intact).await
    }

    /// Reads on the calling thread. A read of one credential takes single microseconds (`local_get` of the benches),
    /// far below the 10 to 100 µs between two awaits that tokio recommends, and below the price of a change of threads.
    async fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, CredentialError> {
        let shared = &self.0.shared;
        let home = shared.opened().await?;
        shared
            .readers
            .read(home, read)
            .map_err(|fault| home.explain(fault))
    }

    /// Reads in steps that see one state, and lets other tasks run in between.
    async fn read_in_steps<T>(
        &self,
        mut step: impl FnMut(&Connection) -> Result<Step<T>, Fault>,
    ) -> Result<T, CredentialError> {
        let shared = &self.0.shared;
        let home = shared.opened().await?;
        let conn = shared.readers.take(home).map_err(|fault| home.explain(fault))?;
        let explain = |fault: Fault| home.explain(fault);
        conn.execute_batch("BEGIN")
            .map_err(|error| explain(error.into()))?;
        loop {
            match step(&conn).map_err(explain)? {
                Step::Done(done) => {
                    // A connection that is not given back is closed, and its transaction with it: so too when this future
                    // is dropped.
                    if conn.execute_batch("COMMIT").is_ok() {
                        shared.readers.give_back(conn);
                    }
                    return Ok(done);
                }
                Step::More => Yield(false).await,
            }
        }
    }

    /// Makes one change on the thread of the store.
    async fn change<T: Send + 'static>(
        &self,
        ctx: &OpContext,
        counter: Option<usize>,
        body: impl FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, CredentialError> {
        self.change_and_scrub(ctx, counter, body, false).await
    }

    /// Like [`change`](Self::change); if `scrubs`, the log is emptied before the caller hears of it.
    async fn change_and_scrub<T: Send + 'static>(
        &self,
        ctx: &OpContext,
        counter: Option<usize>,
        body: impl FnMut(&Connection) -> Result<T, Fault> + Send + 'static,
        scrubs: bool,
    ) -> Result<T, CredentialError> {
        let ctx = ctx.clone();
        let ask = move |reply| {
            Task::Change(Box::new(Asked {
                ctx,
                body,
                scrubs,
                counter,
                reply,
                made: None,
            }))
        };
        self.0.shared.submit(ask).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Before the thread closes its connection, the last to close, which tidies up.
        self.shared.readers.clear();
        self.shared.queue.close();
    }
}

/// Gives way to other tasks once.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalStorage").field(&self.path()).finish()
    }
}

impl SecretStore for LocalStorage {
    fn capability(&self) -> Capability {
        Capability {
            encrypts_at_rest: false,
            ..Capability::ALL
        }
    }

    fn home(&self) -> Option<PathBuf> {
        Some(self.path().to_owned())
    }

    fn changes(&self) -> Option<Arc<dyn ChangeCounters>> {
        Some(Arc::new(Changes(Arc::clone(&self.0.shared))))
    }

    async fn get(&self, _: &OpContext, op: Get) -> Result<Record<Sealed>, CredentialError> {
        self.read(|conn| read::get(conn, op)).await
    }

    async fn head(&self, _: &OpContext, op: Get) -> Result<RecordHead, CredentialError> {
        self.read(|conn| read::head(conn, op)).await
    }

    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Result<RecordHead, CredentialError> {
        let now = ctx.now();
        let counter = Some(Counters::of(&op.id));
        self.change(ctx, counter, move |conn| change::put(conn, &op, now))
            .await
    }

    async fn rewrite(&self, ctx: &OpContext, op: Rewrite<Sealed>) -> Result<(), CredentialError> {
        self.change(ctx, None, move |conn| change::rewrite(conn, &op))
            .await
    }

    async fn update(&self, ctx: &OpContext, op: Update) -> Result<RecordHead, CredentialError> {
        let now = ctx.now();
        let counter = Some(Counters::of(&op.id));
        self.change(ctx, counter, move |conn| change::update(conn, &op, now))
            .await
    }

    async fn delete(&self, ctx: &OpContext, op: Delete) -> Result<(), CredentialError> {
        let now = ctx.now();
        let scrubs = op.mode == DeleteMode::Purge;
        let counter = Some(Counters::of(&op.id));
        self.change_and_scrub(ctx, counter, move |conn| change::delete(conn, &op, now), scrubs)
            .await
    }

    async fn restore(&self, ctx: &OpContext, op: Restore) -> Result<RecordHead, CredentialError> {
        let now = ctx.now();
        let counter = Some(Counters::of(&op.id));
        self.change(ctx, counter, move |conn| change::restore(conn, &op, now))
            .await
    }

    async fn list(&self, _: &OpContext, op: List) -> Result<Page, CredentialError> {
        let mut listing = Listing::new(op);
        self.read_in_steps(move |conn| listing.step(conn)).await
    }

    async fn versions(&self, _: &OpContext, id: CredentialRef) -> Result<Vec<VersionHead>, CredentialError> {
        self.read(|conn| read::versions(conn, &id)).await
    }

    async fn scan(&self, _: &OpContext, op: Scan) -> Result<ScanPage<Sealed>, CredentialError> {
        let mut scanning = Scanning::new(op);
        self.read_in_steps(move |conn| scanning.step(conn)).await
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::{Duration, Instant};

    use super::*;

    fn finish<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => return done,
                Poll::Pending => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn the_thread_ends_with_the_last_clone() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(dir.path().join("secrets"));
        finish(store.open()).unwrap();
        let shared = Arc::downgrade(&store.0.shared);
        let clone = store.clone();
        drop(store);
        assert_eq!(finish(clone.generation()).unwrap(), 0);
        drop(clone);
        let start = Instant::now();
        while shared.strong_count() > 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "the thread still runs");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_forked_child_is_told_so_rather_than_left_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(dir.path().join("secrets"));
        finish(store.open()).unwrap();
        // As a child finds it: the memory of the parent, without its threads.
        *store.0.shared.started.lock().unwrap() = Some(0);
        let error = finish(store.0.shared.work_for(|_| Ok(()))).unwrap_err();
        assert!(error.to_string().contains("after the fork"), "{error}");
    }

    #[test]
    fn a_thread_that_dies_leaves_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(dir.path().join("secrets"));
        let shared = &store.0.shared;
        let died: Result<(), _> = finish(shared.work_for(|_| panic!("as a bug would")));
        assert!(died.unwrap_err().is_outcome_unknown());
        let after: Result<(), _> = finish(shared.work_for(|_| Ok(())));
        assert_eq!(
            after.unwrap_err().kind(),
            nebula_credential_core::ErrorKind::Unavailable
        );
    }
}
