//! Whether what a failed sync was for is durable all the same, so that a success may be reported after it.
//!
//! Only what the same run did can make it so: its steps hold all of it.

use super::calls::Kind;
use super::tracer::Step;
use super::verbs::{DATABASE, LOG};
use crate::ncred::Place;

/// Whether nothing is left that the sync that was struck should have made durable.
///
/// - Nothing was written, and no name made, since an earlier sync that succeeded, or since the start.
/// - It was all written again, and a sync after that succeeded. That a sync alone succeeds says nothing: the system
///   tells of a failure once and forgets what it could not write.
/// - It was to copy the log into the database, and the log is still there.
pub(super) fn made_good(steps: &[Step], from: &Place, after: &Place) -> bool {
    let Some(struck) = steps.iter().position(|step| step.is_struck) else {
        return false;
    };
    let (before, later) = steps.split_at(struck);
    let Some((failed, later)) = later.split_first() else {
        return false;
    };
    let file = failed.place.path.as_str();
    if file == DATABASE
        && after
            .path(LOG)
            .metadata()
            .is_ok_and(|log| log.len() > 0)
    {
        return true;
    }
    let mut made = Made { from, names: Vec::new() };
    let mut pending = false;
    for step in before {
        if is_sync_of(step, file) {
            pending = false;
        } else if changes(step, file) | made.names_in(step, file) {
            pending = true;
        }
    }
    if !pending {
        return true;
    }
    let again = later
        .iter()
        .position(|step| changes(step, file) | made.names_in(step, file));
    again.is_some_and(|again| later.iter().skip(again).any(|step| is_sync_of(step, file)))
}

fn is_sync_of(step: &Step, file: &str) -> bool {
    step.place.call.kind == Kind::Sync && step.place.path == file && step.result == Some(0)
}

/// Whether it changes what is in the file.
fn changes(step: &Step, file: &str) -> bool {
    step.place.path == file
        && step.succeeded()
        && matches!(step.place.call.kind, Kind::Write | Kind::Truncate)
}

/// The names that were made since the start.
struct Made<'a> {
    from: &'a Place,
    names: Vec<String>,
}

impl Made<'_> {
    /// Whether the step makes an entry of the directory that has to last: locks and temporary files need not.
    fn names_in(&mut self, step: &Step, directory: &str) -> bool {
        let path = &step.place.path;
        let is_temporary = [".lock", ".tmp", "-shm", "-journal"]
            .iter()
            .any(|end| path.ends_with(end));
        let is_within = path
            .rsplit_once('/')
            .is_some_and(|(parent, _)| parent == directory);
        if is_temporary || !is_within || !step.succeeded() {
            return false;
        }
        match step.place.call.kind {
            Kind::Name => true,
            Kind::Open if step.creates && !self.names.contains(path) => {
                self.names.push(path.clone());
                !self.from.path(path).exists()
            }
            _ => false,
        }
    }
}
