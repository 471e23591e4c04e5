//! Changes that wait at the same time share one transaction, and so one sync of the disk.
//!
//! Each is still atomic by itself and is told the outcome it would have had alone: one that is refused changes nothing
//! and harms no other, and a group that meets a fault is undone and its members are made one by one.

use std::time::{Duration, Instant};

use nebula_credential_core::{CredentialError, OpContext};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::counters::Counters;
use crate::error::Fault;
use crate::reply::Reply;
use crate::schema::MIGRATIONS;

/// How long a group takes in more members. Other processes wait for the whole group; and what takes longer than some
/// syncs (0.1 to 0.2 ms on a fast disk) gains nothing from sharing one.
const GATHER: Duration = Duration::from_millis(2);

/// A change that waits for its turn.
pub(crate) trait Change: Send {
    /// Whether its caller has given up.
    fn is_abandoned(&self) -> bool;

    /// Makes it inside a transaction. That may be undone, and the change made again in another.
    fn make(&mut self, conn: &Connection) -> Result<(), Fault>;

    /// Whether the log must not keep what it overwrote.
    fn scrubs(&self) -> bool;

    /// The counter that tells caches, if it changes a value.
    fn counter(&self) -> Option<usize>;

    /// Tells the caller what [`make`](Self::make) came to, or why it came to nothing.
    fn tell(self: Box<Self>, failure: Option<CredentialError>);
}

/// A change with the way to its caller.
pub(crate) struct Asked<T, B> {
    pub(crate) ctx: OpContext,
    pub(crate) body: B,
    pub(crate) scrubs: bool,
    pub(crate) counter: Option<usize>,
    pub(crate) reply: Reply<Result<T, CredentialError>>,
    pub(crate) made: Option<T>,
}

impl<T, B> Change for Asked<T, B>
where
    T: Send,
    B: FnMut(&Connection) -> Result<T, Fault> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn make(&mut self, conn: &Connection) -> Result<(), Fault> {
        // It may have waited long, in the queue and for the lock.
        self.ctx.check_deadline()?;
        self.made = Some((self.body)(conn)?);
        Ok(())
    }

    fn scrubs(&self) -> bool {
        self.scrubs
    }

    fn counter(&self) -> Option<usize> {
        self.counter
    }

    fn tell(self: Box<Self>, failure: Option<CredentialError>) {
        let outcome = match (failure, self.made) {
            (Some(failure), _) => Err(failure),
            (None, Some(made)) => Ok(made),
            (None, None) => Err(CredentialError::internal(
                "a change was committed before it was made",
            )),
        };
        self.reply.send(outcome);
    }
}

/// A change, and why it was refused if it was.
pub(crate) struct Member {
    pub(crate) change: Box<dyn Change>,
    pub(crate) refusal: Option<Fault>,
}

/// How the transaction of a group ended.
pub(crate) enum End {
    /// Its members have happened, but for those that were refused.
    Committed,
    /// Nothing has happened.
    Undone(Fault),
    /// The commit failed.
    Failed(Fault),
}

/// Makes `group`, and then what `next` brings, in one transaction. Also tells whether the connection can be used again.
pub(crate) fn transact(
    conn: &Connection,
    counters: &Counters,
    group: &mut Vec<Member>,
    mut next: impl FnMut() -> Option<Box<dyn Change>>,
) -> (End, bool) {
    let since = Instant::now();
    let prepared = begin(conn).and_then(|tx| {
        let mut made: u32 = 0;
        let mut at = 0;
        loop {
            while let Some(member) = group.get_mut(at) {
                at += 1;
                let before = tx.total_changes();
                match member.change.make(&tx) {
                    Ok(()) if tx.total_changes() != before => made = made.saturating_add(1),
                    Ok(()) => {}
                    Err(fault) if !fault.poisons() && !tx.is_autocommit() && tx.total_changes() == before => {
                        member.refusal = Some(fault);
                    }
                    Err(fault) => return Err(fault),
                }
            }
            if since.elapsed() >= GATHER {
                break;
            }
            match next() {
                Some(change) if change.is_abandoned() => {}
                Some(change) => group.push(Member::new(change)),
                None => break,
            }
        }
        if made > 0 {
            tx.prepare_cached("UPDATE head SET generation = generation + ?1")?
                .execute([made])?;
        }
        Ok((tx, made))
    });
    let (tx, made) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => {
            let sound = !fault.poisons() && conn.is_autocommit();
            return (End::Undone(fault), sound);
        }
    };
    // Where nothing is written, nothing moves: also what a dead writer left in doubt is in doubt still.
    let under_way = (made > 0).then(|| {
        let made = group.iter().filter(|member| member.refusal.is_none());
        counters.begin(made.filter_map(|member| member.change.counter()).collect())
    });
    match tx.commit() {
        Ok(()) => {
            if let Some(under_way) = under_way {
                under_way.settle();
            }
            (End::Committed, true)
        }
        // What is in doubt stays under way until the next commit settles it.
        Err(error) => (End::Failed(error.into()), false),
    }
}

/// Commits nothing, but writes it, durably: whatever a dead writer had written to the log and not published is written
/// over. Until then it would be found, and become current, as soon as the last connection is closed and another is
/// opened. Under the lock of writers.
pub(crate) fn overwrite(conn: &Connection) -> Result<(), Fault> {
    let tx = begin(conn)?;
    // The format it has: `begin` looked. An update to the same value would write no page.
    tx.execute_batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len()))?;
    Ok(tx.commit()?)
}

impl Member {
    pub(crate) fn new(change: Box<dyn Change>) -> Self {
        Self {
            change,
            refusal: None,
        }
    }
}

/// Begins a transaction on a store that still has the format this program knows.
fn begin(conn: &Connection) -> Result<Transaction<'_>, Fault> {
    // No other is open: the last one left the connection in autocommit mode, or it would not have been kept.
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let format: i64 = tx
        .prepare_cached("PRAGMA user_version")?
        .query_one([], |row| row.get(0))?;
    if usize::try_from(format) == Ok(MIGRATIONS.len()) {
        return Ok(tx);
    }
    Err(CredentialError::unsupported_format(
        "the store was upgraded by a newer version while this program ran; upgrade and restart it",
    )
    .into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::future::Future as _;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::home::{Home, Role};
    use crate::reply::{Answer, reply};
    use crate::writer::Writer;

    type Outcome = Answer<Result<(), CredentialError>>;

    fn asked(
        body: impl FnMut(&Connection) -> Result<(), Fault> + Send + 'static,
    ) -> (Box<dyn Change>, Outcome) {
        let (reply, answer) = reply();
        let asked = Asked {
            ctx: OpContext::default(),
            body,
            scrubs: false,
            counter: None,
            reply,
            made: None,
        };
        (Box::new(asked), answer)
    }

    fn bury(name: &'static str) -> (Box<dyn Change>, Outcome) {
        asked(move |conn| {
            conn.execute("INSERT INTO tombstone VALUES ('t', 's', ?1, 1)", [name])?;
            Ok(())
        })
    }

    /// What came of a change; `None` while it is not told, or if nobody will tell.
    fn told(mut answer: Outcome) -> Option<Result<(), CredentialError>> {
        match Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(told) => told,
            Poll::Pending => None,
        }
    }

    struct Place {
        home: Home,
        writer: Writer,
        _dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self {
                home: Home::open(&dir.path().join("secrets"), true).unwrap().0,
                writer: Writer::default(),
                _dir: dir,
            }
        }

        /// Makes `changes` while all of them wait.
        fn make(
            &mut self,
            changes: Vec<(Box<dyn Change>, Outcome)>,
        ) -> Vec<Option<Result<(), CredentialError>>> {
            let (changes, answers): (VecDeque<_>, Vec<_>) = changes.into_iter().unzip();
            let waiting = RefCell::new(changes);
            let next = || waiting.borrow_mut().pop_front();
            // A group ends when it took long, and a machine may be slow.
            while let Some(first) = next() {
                self.writer.change(&self.home, first, next);
            }
            answers.into_iter().map(told).collect()
        }

        /// The names that were buried, and the number of changes.
        fn found(&self) -> (Vec<String>, i64) {
            let conn = self.home.connect(Role::Reader).unwrap();
            let mut statement = conn.prepare("SELECT name FROM tombstone ORDER BY name").unwrap();
            let names = statement.query_map([], |row| row.get(0)).unwrap();
            let generation = conn
                .query_row("SELECT generation FROM head", [], |row| row.get(0))
                .unwrap();
            (names.map(Result::unwrap).collect(), generation)
        }
    }

    #[test]
    fn a_refused_change_harms_no_other() {
        let mut place = Place::new();
        let refused = asked(|_| Err(CredentialError::not_found("n").into()));
        let told = place.make(vec![bury("a"), refused, bury("b")]);
        assert!(matches!(told.as_slice(), [Some(Ok(())), Some(Err(no)), Some(Ok(()))] if no.is_not_found()));
        assert_eq!(place.found(), (vec!["a".to_owned(), "b".to_owned()], 2));
    }

    #[test]
    fn what_fails_half_way_is_undone_and_the_others_are_made() {
        let mut place = Place::new();
        let halved = asked(|conn| {
            conn.execute("INSERT INTO tombstone VALUES ('t', 's', 'half', 1)", [])?;
            Err(CredentialError::storage("the other half failed").into())
        });
        // Poisons the connection.
        let damaged = asked(|_| {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            Err(rusqlite::Error::SqliteFailure(code, None).into())
        });
        let told = place.make(vec![bury("a"), halved, bury("b"), damaged, bury("c")]);
        let made: Vec<bool> = told.into_iter().map(|told| told.unwrap().is_ok()).collect();
        assert_eq!(made, [true, false, true, false, true]);
        assert_eq!(place.found().0, ["a", "b", "c"]);
        assert_eq!(place.found().1, 3);
    }

    #[test]
    fn a_change_may_rest_on_the_one_before_it_in_its_group() {
        let mut place = Place::new();
        let told = place.make(vec![bury("a"), bury("a"), bury("b")]);
        assert!(matches!(
            told.as_slice(),
            [Some(Ok(())), Some(Err(_)), Some(Ok(()))]
        ));
        assert_eq!(place.found().1, 2);
    }

    #[test]
    fn what_a_dead_writer_left_in_doubt_is_settled_by_the_next_change_and_not_by_a_refusal() {
        let mut place = Place::new();
        let (left, other) = (1, 2);
        drop(place.home.counters().unwrap().begin(vec![left]));
        let stands = |place: &Place| place.home.counters().unwrap().read(left);
        let refused = asked(|_| Err(CredentialError::not_found("n").into()));
        let idle = asked(|_| Ok(()));
        place.make(vec![refused, idle]);
        // The log may still hold what the dead writer committed: nothing was written over it.
        assert_eq!(stands(&place), None);
        let told = place.make(vec![bury("a")]);
        assert!(matches!(told.as_slice(), [Some(Ok(()))]));
        assert_eq!(stands(&place), Some(2));
        assert_eq!(place.home.counters().unwrap().read(other), Some(0));
    }

    /// What was written to the log and synced, and not published: the end of a longer log of the same store.
    #[test]
    fn what_a_dead_writer_had_written_does_not_come_to_light_once_it_is_settled() {
        let frames = |place: &Place| std::fs::read(place.home.path().join("store.db-wal")).unwrap();
        for settles in [false, true] {
            let mut place = Place::new();
            place.make(vec![bury("a")]);
            place.writer = Writer::default();
            // The same store, in which the writer lived.
            let mut twin = Place::new();
            for file in ["store.db", "store.db-wal"] {
                std::fs::copy(place.home.path().join(file), twin.home.path().join(file)).unwrap();
            }
            let reader = place.home.connect(Role::Reader).unwrap();
            assert_eq!(place.found().0, ["a"]);
            twin.make(vec![bury("dead")]);
            let (log, longer) = (frames(&place), frames(&twin));
            assert!(longer.starts_with(&log) && longer.len() > log.len());
            std::fs::write(place.home.path().join("store.db-wal"), longer).unwrap();
            assert_eq!(place.found().0, ["a"]);

            drop(place.home.counters().unwrap().begin(vec![1]));
            if settles {
                place.writer.settle(&place.home);
                assert_eq!(place.home.counters().unwrap().read(1), Some(2));
                place.writer = Writer::default();
            }
            // The last connection: the next one reads the log itself.
            drop(reader);
            let (names, generation) = place.found();
            assert_eq!(names.contains(&"dead".to_owned()), !settles);
            assert_eq!(generation, if settles { 1 } else { 2 });
        }
    }

    #[test]
    fn nothing_is_settled_while_a_writer_lives() {
        let mut place = Place::new();
        let lock = place.home.lock_writer().unwrap();
        let change = place.home.counters().unwrap().begin(vec![1]);
        place.writer.settle(&place.home);
        assert_eq!(place.home.counters().unwrap().read(1), None);
        // It stopped there, and its lock with it.
        drop((change, lock));
        place.writer.settle(&place.home);
        assert_eq!(place.home.counters().unwrap().read(1), Some(2));
    }

    #[test]
    fn what_cannot_be_written_over_stays_in_doubt() {
        let mut place = Place::new();
        drop(place.home.counters().unwrap().begin(vec![1]));
        let newer = place.home.connect(Role::Writer).unwrap();
        newer.pragma_update(None, "user_version", 1000).unwrap();
        place.writer.settle(&place.home);
        assert_eq!(place.home.counters().unwrap().read(1), None);
        newer
            .pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap())
            .unwrap();
        place.writer.settle(&place.home);
        assert_eq!(place.home.counters().unwrap().read(1), Some(2));
    }

    #[test]
    fn what_nobody_waits_for_is_not_made() {
        let mut place = Place::new();
        let (given_up, answer) = bury("b");
        drop(answer);
        let (first, answer) = bury("c");
        drop(answer);
        let mut changes = VecDeque::from([given_up]);
        let (last, outcome) = bury("a");
        changes.push_back(last);
        place.writer.change(&place.home, first, || changes.pop_front());
        let (other, _answer) = bury("d");
        place.writer.change(&place.home, other, || changes.pop_front());
        assert!(matches!(told(outcome), Some(Ok(()))));
        assert_eq!(place.found().0, ["a", "d"]);
    }
}
