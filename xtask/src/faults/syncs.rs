//! Whether what a failed sync was for is durable all the same, so that a success may be reported after it.
//!
//! Only what the same run did can make it so: its steps hold all of it.

use super::calls::Kind;
use super::tracer::Step;
use super::verbs::DATABASE;

/// Whether nothing is left that the sync that was struck should have made durable.
///
/// - Nothing was written, and no name made, since an earlier sync that succeeded, or since the start.
/// - It was written again, and a sync after that succeeded. That a sync alone succeeds says nothing: the system tells
///   of a failure once and forgets what it could not write.
/// - It was to copy the log into the database, and the log is still there: it `has_log`.
///
/// What `existed` at the start was made durable by whoever made it.
pub(super) fn made_good(steps: &[Step], existed: impl Fn(&str) -> bool, has_log: bool) -> bool {
    let Some(struck) = steps.iter().position(|step| step.is_struck) else {
        return false;
    };
    let (before, later) = steps.split_at(struck);
    let Some((failed, later)) = later.split_first() else {
        return false;
    };
    let file = failed.site.path.as_str();
    if file == DATABASE && has_log {
        return true;
    }
    let mut named = Vec::new();
    let mut does_work = |step: &Step| changes(step, file) || names_in(step, file, &existed, &mut named);
    let mut is_pending = false;
    for step in before {
        if is_sync_of(step, file) {
            is_pending = false;
        } else if does_work(step) {
            is_pending = true;
        }
    }
    if !is_pending {
        return true;
    }
    let again = later.iter().position(does_work);
    again.is_some_and(|again| later.iter().skip(again).any(|step| is_sync_of(step, file)))
}

fn is_sync_of(step: &Step, file: &str) -> bool {
    step.site.call.kind == Kind::Sync && step.site.path == file && step.succeeded()
}

/// Whether it changes what is in the file.
fn changes(step: &Step, file: &str) -> bool {
    step.site.path == file && step.succeeded() && matches!(step.site.call.kind, Kind::Write | Kind::Truncate)
}

/// Whether it makes an entry of the directory that has to last. The files that it was the first to open are `named`.
fn names_in(step: &Step, directory: &str, existed: impl Fn(&str) -> bool, named: &mut Vec<String>) -> bool {
    let path = &step.site.path;
    let Some((parent, name)) = path.rsplit_once('/') else {
        return false;
    };
    if parent != directory || is_passing(name) || !step.succeeded() {
        return false;
    }
    match step.site.call.kind {
        Kind::Name => true,
        Kind::Open if step.creates && !named.contains(path) => {
            named.push(path.clone());
            !existed(path)
        }
        _ => false,
    }
}

/// Whether a file holds nothing that has to be there after a power cut: locks, what processes share while they live,
/// and temporary files, whose names begin with a dot.
fn is_passing(name: &str) -> bool {
    name == "changes"
        || name.starts_with('.')
        || [".lock", "-shm", "-journal"]
            .iter()
            .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::faults::calls::Call;
    use crate::faults::points::Counts;
    use crate::faults::verbs::LOG;

    fn step(number: i64, path: &str) -> Step {
        Step {
            site: Counts::default().next(0, Call::of(number).unwrap(), path),
            creates: number == libc::SYS_openat,
            length: 0,
            result: Some(0),
            is_struck: false,
        }
    }

    fn write(path: &str) -> Step {
        step(libc::SYS_pwrite64, path)
    }

    fn sync(path: &str) -> Step {
        step(libc::SYS_fsync, path)
    }

    fn failed(path: &str) -> Step {
        Step {
            result: Some(-5),
            is_struck: true,
            ..sync(path)
        }
    }

    fn holds(steps: &[Step]) -> bool {
        made_good(steps, |path| path == "./old", false)
    }

    #[test]
    fn what_is_done_again_or_was_not_needed_holds() {
        assert!(holds(&[failed(LOG)]));
        assert!(holds(&[write(LOG), sync(LOG), failed(LOG)]));
        assert!(holds(&[write(LOG), failed(LOG), write(LOG), sync(LOG)]));
        let existed = step(libc::SYS_openat, "./old");
        let lock = step(libc::SYS_openat, "./turn.lock");
        assert!(holds(&[existed, lock, write("./old"), failed(".")]));
        assert!(made_good(&[write(DATABASE), failed(DATABASE)], |_| true, true));
    }

    #[test]
    fn what_was_written_or_made_and_not_synced_does_not() {
        assert!(!holds(&[write(LOG), failed(LOG)]));
        assert!(!holds(&[sync(LOG), write(LOG), failed(LOG)]));
        assert!(
            !holds(&[write(LOG), sync("./other"), failed(LOG), sync(LOG)]),
            "a sync alone"
        );
        assert!(!holds(&[step(libc::SYS_renameat, "./old"), failed(".")]));
        let made = || step(libc::SYS_openat, "./new");
        assert!(!holds(&[made(), failed(".")]));
        assert!(
            !holds(&[made(), failed("."), made(), sync(".")]),
            "opened, not made again"
        );
        assert!(!made_good(&[write(DATABASE), failed(DATABASE)], |_| true, false));
        assert!(!holds(&[write(LOG)]), "nothing was struck");
    }
}
