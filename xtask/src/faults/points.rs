//! Points: which call on which file fails how. They come from a run of the verb in which nothing fails.

use std::collections::BTreeMap;
use std::fmt;

use super::calls::{Call, Kind};
use super::tracer::Step;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Eio,
    Enospc,
    /// The call takes nothing and says so.
    Nothing,
    /// The call takes the first half; what follows is taken.
    Short,
    /// The call takes the first half, and nothing more fits into the file.
    Full,
    /// The process is killed before the call does anything.
    Kill,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Nothing => "takes nothing",
            Self::Short => "takes half",
            Self::Full => "takes half, then ENOSPC",
            Self::Kill => "kill",
        })
    }
}

/// A call of a run, told from all others in it, and the same in each run of the verb.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// In the order in which the threads of the program were made; 0 is the first.
    pub(super) thread: usize,
    pub(super) call: &'static Call,
    /// As in [`Step::path`].
    pub(super) path: String,
    /// Which of these calls of the thread on the file, from 1.
    pub(super) nth: u32,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        (self.thread, self.call.number, &self.path, self.nth)
            == (other.thread, other.call.number, &other.path, other.nth)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            thread, path, nth, ..
        } = self;
        write!(f, "thread {thread}, {} {nth} of {path}", self.call.name)
    }
}

/// One way in which one call fails.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) place: Place,
    pub(super) fault: Fault,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

impl Point {
    pub(super) fn is_failed_sync(&self) -> bool {
        self.place.call.kind == Kind::Sync && self.fault != Fault::Kill
    }
}

/// How often each thread has made each call on each file.
#[derive(Default)]
pub(super) struct Counts(BTreeMap<(usize, &'static str, String), u32>);

impl Counts {
    /// Where a run is that makes this call next.
    pub(super) fn place(&mut self, thread: usize, call: &'static Call, path: &str) -> Place {
        let nth = self.0.entry((thread, call.name, path.to_owned())).or_default();
        *nth += 1;
        Place {
            thread,
            call,
            path: path.to_owned(),
            nth: *nth,
        }
    }
}

/// The points of a run.
pub(super) fn points(steps: &[Step]) -> Vec<Point> {
    let mut found = Vec::new();
    for step in steps {
        let mut faults = vec![Fault::Eio, Fault::Enospc, Fault::Kill];
        if step.place.call.kind == Kind::Write {
            faults.push(Fault::Nothing);
        }
        // Half of one byte is nothing.
        if step.place.call.has_length() && step.length > 1 {
            faults.extend([Fault::Short, Fault::Full]);
        }
        found.extend(faults.into_iter().map(|fault| Point {
            place: step.place.clone(),
            fault,
        }));
    }
    found
}

/// The calls of each thread, in its order: what two runs of one verb have in common.
pub(super) fn by_thread(steps: &[Step]) -> BTreeMap<usize, Vec<String>> {
    let mut threads = BTreeMap::<usize, Vec<String>>::new();
    for step in steps {
        let of_thread = threads.entry(step.place.thread).or_default();
        of_thread.push(step.place.to_string());
    }
    threads
}
