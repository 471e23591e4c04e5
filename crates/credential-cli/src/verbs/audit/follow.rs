//! `ncred audit tail --follow`.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nebula_credential::audit::Entry;

use super::each;
use super::filter::Wanted;
use super::print::Printer;
use crate::exit::{Failure, Outcome};

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints the records after `last` as they come, until nobody reads them any more.
pub(super) fn follow(path: &Path, mut last: u64, wanted: &Wanted, printer: &mut Printer<'_>) -> Outcome {
    let mut file = Present::open(path)?;
    loop {
        while let Some(entry) = file.next() {
            if entry.seq > last {
                last = entry.seq;
                if wanted.takes(&entry) {
                    printer.entry(&entry)?;
                }
            }
        }
        printer.flush()?;
        std::thread::sleep(PAUSE);
        if file.was_replaced(path) {
            // The log went on in a new file, or in several: what was missed stands in those that are there.
            let after = last;
            let read = each(path, wanted, |entry| match entry.seq > after {
                true => printer.entry(&entry),
                false => Ok(()),
            })?;
            last = last.max(read.last);
            file = Present::open(path)?;
        }
    }
}

/// The file that the log is written to.
struct Present {
    lines: BufReader<File>,
    inode: u64,
    /// A line that was read before its end was written.
    begun: Vec<u8>,
}

impl Present {
    fn open(path: &Path) -> Outcome<Self> {
        let refused = |_| {
            Failure::from(nebula_credential::CredentialError::audit_unavailable(
                "there is no audit log; check the path",
            ))
        };
        let file = File::open(path).map_err(refused)?;
        Ok(Self {
            inode: file.metadata().map_err(refused)?.ino(),
            lines: BufReader::new(file),
            begun: Vec::new(),
        })
    }

    /// The next whole record, if there is one. What is no record is passed over: `verify` says where.
    fn next(&mut self) -> Option<Entry> {
        loop {
            // A file that cannot be read any more gives nothing more.
            self.lines.read_until(b'\n', &mut self.begun).ok()?;
            self.begun.pop_if(|byte| *byte == b'\n')?;
            let line = std::mem::take(&mut self.begun);
            if let Ok(entry) = serde_json::from_slice(&line) {
                return Some(entry);
            }
        }
    }

    /// Whether another file has its name. In the moment between the two there is none.
    fn was_replaced(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|found| found.ino() != self.inode)
    }
}
