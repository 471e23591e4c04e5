//! Whether what a failed sync was for is durable all the same, so that a success may be reported after it.
//!
//! Only what the same run did on the same file can make it so: the trace holds all of it.

use std::path::Path;

use super::points::Point;
use crate::ncred::Place;

/// The log of the database; SQLite makes it under its whole path, which a trace of its directory does not show.
const LOG: &str = "store/store.db-wal";

/// Whether nothing is left that the sync at `point` should have made durable.
///
/// - A later sync of the same file succeeded: what failed was undone and done again.
/// - Nothing was written, and no file made, since an earlier sync that succeeded.
/// - It was to copy the log into the database, and the log is still there.
pub(super) fn made_good(point: &Point, trace: &str, from: &Place, after: &Place) -> bool {
    let exists = |path: &str| from.root.join(Path::new(path)).exists();
    match point.path {
        // What was there when the verb started was made durable by whoever made it.
        "store" => holds(trace, exists(LOG)),
        "" => holds(trace, true),
        "store/store.db" if after.root.join(LOG).metadata().is_ok_and(|log| log.len() > 0) => true,
        path => holds(trace, exists(path)),
    }
}

/// Whether the syncs of one file, of which the last that was injected failed, leave nothing that may be lost. At the
/// start it `was_durable` or not.
fn holds(trace: &str, was_durable: bool) -> bool {
    let lines: Vec<&str> = trace.lines().collect();
    let Some(failed) = lines.iter().rposition(|line| line.contains("(INJECTED)")) else {
        return false;
    };
    let (before, later) = lines.split_at(failed);
    if later.iter().any(|line| is_sync(line)) {
        return true;
    }
    let last = before.iter().rposition(|line| is_sync(line));
    let since = last.map_or(before, |last| before.get(last..).unwrap_or_default());
    (was_durable || last.is_some()) && !since.iter().any(|line| writes(line) || names(line))
}

/// A sync that succeeded.
fn is_sync(line: &str) -> bool {
    (line.contains("fsync") || line.contains("fdatasync")) && line.ends_with("= 0")
}

fn writes(line: &str) -> bool {
    ["write(", "pwrite64(", "ftruncate("]
        .iter()
        .any(|call| line.contains(call))
}

/// Makes an entry of a directory that has to last: locks and temporary files need not.
fn names(line: &str) -> bool {
    let made = line.contains("O_CREAT")
        && ![".lock\"", ".tmp\"", "-shm\"", "-journal\""]
            .iter()
            .any(|end| line.contains(end));
    made || line.contains("renameat") || line.contains("mkdirat(")
}

#[cfg(test)]
mod tests {
    use super::holds;

    const FAILED: &str = "7 fsync(5) = -1 EIO (Input/output error) (INJECTED)\n";

    #[test]
    fn what_is_done_again_or_was_not_needed_holds() {
        let again = format!("7 pwrite64(5, \"\"..., 9, 0) = 9\n{FAILED}7 fsync(5) = 0\n");
        assert!(holds(&again, false));
        let nothing_new = format!("7 pwrite64(5, \"\"..., 9, 0) = 9\n7 fsync(5) = 0\n{FAILED}");
        assert!(holds(&nothing_new, false));
        assert!(holds(FAILED, true));
        let lock = format!("7 openat(4, \"turn.lock\", O_RDWR|O_CREAT, 0600) = 8\n{FAILED}");
        assert!(holds(&lock, true));
    }

    #[test]
    fn what_was_written_or_made_and_not_synced_does_not() {
        assert!(!holds(FAILED, false));
        let written = format!("7 fsync(5) = 0\n7 pwrite64(5, \"\"..., 9, 0) = 9\n{FAILED}");
        assert!(!holds(&written, true));
        let renamed = format!("7 renameat(4, \".keyring.tmp\", 4, \"keyring\") = 0\n{FAILED}");
        assert!(!holds(&renamed, true));
        assert!(!holds("7 fsync(5) = 0\n", true));
    }
}
