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
pub(super) struct Site {
    /// In the order in which the threads of the program were made; 0 is the first.
    pub(super) thread: usize,
    pub(super) call: &'static Call,
    /// The file, as the trace names it.
    pub(super) path: String,
    /// Which of these calls of the thread on the file, from 1.
    pub(super) nth: u32,
}

impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        (self.thread, self.call.number, &self.path, self.nth)
            == (other.thread, other.call.number, &other.path, other.nth)
    }
}

impl fmt::Display for Site {
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
    pub(super) site: Site,
    pub(super) fault: Fault,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.site, self.fault)
    }
}

impl Point {
    pub(super) fn is_failed_sync(&self) -> bool {
        self.site.call.kind == Kind::Sync && self.fault != Fault::Kill
    }
}

/// How often each thread has made each call on each file.
#[derive(Default)]
pub(super) struct Counts(BTreeMap<(usize, &'static str, String), u32>);

impl Counts {
    /// Where a run is that makes this call next.
    pub(super) fn next(&mut self, thread: usize, call: &'static Call, path: &str) -> Site {
        let nth = self.0.entry((thread, call.name, path.to_owned())).or_default();
        *nth += 1;
        Site {
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
        if step.site.call.kind == Kind::Write {
            faults.push(Fault::Nothing);
        }
        // Half of one byte is nothing.
        if step.site.call.has_length() && step.length > 1 {
            faults.extend([Fault::Short, Fault::Full]);
        }
        found.extend(faults.into_iter().map(|fault| Point {
            site: step.site.clone(),
            fault,
        }));
    }
    found
}

/// The calls of each thread, in its order: what two runs of one verb have in common.
pub(super) fn by_thread(steps: &[Step]) -> BTreeMap<usize, Vec<String>> {
    let mut threads = BTreeMap::<usize, Vec<String>>::new();
    for step in steps {
        let of_thread = threads.entry(step.site.thread).or_default();
        of_thread.push(step.site.to_string());
    }
    threads
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    fn step(counts: &mut Counts, thread: usize, number: i64, length: u64) -> Step {
        Step {
            site: counts.next(thread, Call::of(number).unwrap(), "./f"),
            creates: false,
            length,
            result: Some(0),
            is_struck: false,
        }
    }

    #[test]
    fn each_call_of_each_thread_has_a_point_for_each_fault() {
        let mut counts = Counts::default();
        let steps = [
            step(&mut counts, 1, libc::SYS_fsync, 0),
            step(&mut counts, 2, libc::SYS_fsync, 0),
            step(&mut counts, 1, libc::SYS_fsync, 0),
            step(&mut counts, 1, libc::SYS_write, 9),
            step(&mut counts, 1, libc::SYS_pwrite64, 1),
        ];
        let found = points(&steps);
        let count = |fault| found.iter().filter(|point| point.fault == fault).count();
        assert_eq!(
            (count(Fault::Eio), count(Fault::Enospc), count(Fault::Kill)),
            (5, 5, 5)
        );
        assert_eq!(
            (count(Fault::Nothing), count(Fault::Short), count(Fault::Full)),
            (2, 1, 1)
        );
        let failed_syncs = found.iter().filter(|point| point.is_failed_sync());
        assert_eq!(failed_syncs.count(), 6);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(texts.contains(&"thread 1, fsync 2 of ./f: EIO".to_owned()));
        assert!(texts.contains(&"thread 2, fsync 1 of ./f: kill".to_owned()));
    }

    #[test]
    fn the_order_between_threads_does_not_matter() {
        let threads = |order: &[usize]| {
            let mut counts = Counts::default();
            let steps = order
                .iter()
                .map(|thread| step(&mut counts, *thread, libc::SYS_fsync, 0));
            by_thread(&steps.collect::<Vec<_>>())
        };
        assert_eq!(threads(&[0, 1, 0]), threads(&[1, 0, 0]));
        assert_ne!(threads(&[0, 1, 0]), threads(&[0, 1, 1]));
    }
}
