//! Points: which call on which file fails how. They come from a trace of the verb when nothing fails.

use std::collections::BTreeMap;
use std::fmt;

/// The calls that fail, by what they do.
pub(super) const CALLS: &[&str] = &[
    "openat",
    "mkdirat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "renameat",
    "renameat2",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Eio,
    Enospc,
    /// The call takes nothing and says so.
    Nothing,
    /// The call takes the first half, and nothing fits behind it: the size of files is limited to the middle of what
    /// is written. A tracer cannot do that, it could only have the call lie. The limit is for all
    /// files: one that another file meets first is not this point.
    Half,
    /// The process is killed as it makes the call.
    Kill,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Nothing => "writes nothing",
            Self::Half => "writes half",
            Self::Kill => "kill",
        })
    }
}

/// One way in which one call fails.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    /// Relative to the place.
    pub(super) path: &'static str,
    pub(super) call: &'static str,
    /// Which of the calls of a thread on the file, from 1. The tracer counts each thread by itself: where two threads
    /// make as many, the call fails in both.
    pub(super) nth: u32,
    pub(super) fault: Fault,
    /// For [`Fault::Half`], how many bytes fit in a file.
    pub(super) limit: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "." } else { self.path };
        write!(f, "{} {} of {path}: {}", self.call, self.nth, self.fault)
    }
}

impl Point {
    /// The expression that has the tracer bring it about.
    pub(super) fn injection(&self) -> Option<String> {
        let how = match self.fault {
            Fault::Eio => "error=EIO",
            Fault::Enospc => "error=ENOSPC",
            Fault::Nothing => "retval=0",
            Fault::Kill => "signal=KILL",
            Fault::Half => return None,
        };
        Some(format!("inject={}:{how}:when={}", self.call, self.nth))
    }

    pub(super) fn is_failed_sync(&self) -> bool {
        matches!(self.call, "fsync" | "fdatasync") && self.fault != Fault::Kill
    }
}

/// The points of one file, from the trace of its calls.
pub(super) fn points(path: &'static str, trace: &str) -> Vec<Point> {
    let mut counts = BTreeMap::<(&str, &'static str), u32>::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        // What was interrupted is resumed on a line of its own, which names no call before its parenthesis.
        let Some((name, arguments)) = rest.trim_start().split_once('(') else {
            continue;
        };
        let Some(call) = CALLS.iter().find(|call| **call == name) else {
            continue;
        };
        let nth = counts.entry((thread, call)).or_default();
        *nth += 1;
        let mut point = |fault, limit| {
            found.push(Point {
                path,
                call,
                nth: *nth,
                fault,
                limit,
            });
        };
        for fault in [Fault::Eio, Fault::Enospc, Fault::Kill] {
            point(fault, 0);
        }
        if matches!(*call, "write" | "pwrite64") {
            point(Fault::Nothing, 0);
            if let Some((from, length)) = extent(call, arguments) {
                point(Fault::Half, from + length / 2);
            }
        }
    }
    found.sort();
    found.dedup_by_key(|point| (point.call, point.nth, point.fault));
    found
}

/// Where the call writes, and how much, from `…, LENGTH) = …` or `…, LENGTH, OFFSET) = …`. The files that are written
/// without an offset are written once.
fn extent(call: &str, arguments: &str) -> Option<(u64, u64)> {
    let (arguments, _) = arguments.rsplit_once(')')?;
    let mut numbers = arguments
        .rsplit(',')
        .map(|number| number.trim().parse::<u64>().ok());
    if call == "write" {
        return Some((0, numbers.next()??));
    }
    let from = numbers.next()??;
    Some((from, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_gives_the_points() {
        let trace = "\
7 fsync(3)                          = 0
8 fsync(3 <unfinished ...>
7 fsync(3)                          = 0
8 <... fsync resumed>)              = 0
8 pwrite64(4, \"a, b)\"..., 4096, 512) = 4096
9 write(4, \"x\", 9)                 = 9
9 read(4, \"x\", 9)                  = 9
9 +++ exited with 0 +++
";
        let found = points("f", trace);
        let count = |call| found.iter().filter(|point| point.call == call).count();
        // The first sync of the two threads is one point.
        assert_eq!((count("fsync"), count("pwrite64"), count("write")), (6, 5, 5));
        assert_eq!(found.len(), 16);
        let limits = |call| {
            let halves = found.iter().filter(|point| point.fault == Fault::Half);
            halves
                .filter(|point| point.call == call)
                .map(|point| point.limit)
                .sum::<u64>()
        };
        assert_eq!((limits("pwrite64"), limits("write")), (2560, 4));
    }

    #[test]
    fn a_point_says_what_fails() {
        let mut point = Point {
            path: "store/store.db-wal",
            call: "fsync",
            nth: 2,
            fault: Fault::Eio,
            limit: 0,
        };
        assert_eq!(point.injection().unwrap(), "inject=fsync:error=EIO:when=2");
        assert_eq!(point.to_string(), "fsync 2 of store/store.db-wal: EIO");
        assert!(point.is_failed_sync());
        point.fault = Fault::Kill;
        assert!(!point.is_failed_sync());
    }
}
