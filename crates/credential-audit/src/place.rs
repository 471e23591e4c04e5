//! Whether the log is still where it was.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nebula_credential_core::CredentialError;
use rustix::fs::{AtFlags, CWD, Dev, Mode, OFlags, Stat, fstat, open, statat};
#[cfg(target_os = "linux")]
use rustix::fs::{StatxFlags, makedev, statx};
#[cfg(target_os = "linux")]
use rustix::io::Errno;

use crate::unavailable;

/// How often the whole path is walked, which takes longer than writing a record. In between, the directory that was found
/// last is looked into: a log that was removed or replaced is missed at once, directories that were moved with all that is
/// in them as soon as a read is on the disk.
const WALK: Duration = Duration::from_millis(5);

/// Device and number of a file, as wide as the system has them.
type Number = (Dev, u64);

/// The place of the log: a directory that is open, and a name in it.
pub(crate) struct Place {
    path: PathBuf,
    name: OsString,
    directory: OwnedFd,
    walked: Instant,
    file: Number,
}

impl Place {
    /// Where `file` is, which lies at `path`.
    pub(crate) fn of(path: &Path, file: &File) -> Result<Self, CredentialError> {
        let refused = |_| unavailable("the log cannot be examined");
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(directory.unwrap_or(Path::new(".")), flags, Mode::empty()).map_err(refused)?;
        Ok(Self {
            path: path.to_owned(),
            name: path.file_name().unwrap_or(OsStr::new(".")).to_owned(),
            directory,
            walked: Instant::now(),
            file: number(&fstat(file).map_err(refused)?),
        })
    }

    /// The length of the file; `None` if it is not in its place.
    pub(crate) fn len(&mut self, now: Instant) -> Option<u64> {
        let found = if now.saturating_duration_since(self.walked) < WALK {
            look(&self.directory, Path::new(&self.name))
        } else {
            self.walked = now;
            look(CWD, &self.path)
        };
        let found = found.filter(|found| found.number == self.file);
        if found.is_none() {
            // Until it is back, the path decides.
            self.walked = now.checked_sub(WALK).unwrap_or(now);
        }
        found.map(|found| found.len)
    }
}

struct Found {
    number: Number,
    len: u64,
}

fn look(directory: impl AsFd, path: &Path) -> Option<Found> {
    // Linux tells number and length alone sooner, and need not write the time of the next record anew because of it.
    #[cfg(target_os = "linux")]
    match statx(
        &directory,
        path,
        AtFlags::empty(),
        StatxFlags::INO | StatxFlags::SIZE,
    ) {
        Ok(found) => {
            return Some(Found {
                number: (makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
                len: found.stx_size,
            });
        }
        Err(Errno::NOENT) => return None,
        // Where it is not allowed or not known, the older call may be.
        Err(_) => {}
    }
    let found = statat(directory, path, AtFlags::empty()).ok()?;
    Some(Found {
        number: number(&found),
        len: u64::try_from(found.st_size).unwrap_or(u64::MAX),
    })
}

fn number(found: &Stat) -> Number {
    (found.st_dev, found.st_ino)
}
