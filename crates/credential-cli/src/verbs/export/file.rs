//! The file a bundle is written to: whole and durable, or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::exit::{Failure, Outcome};
use crate::output::Output;

/// Where a bundle goes.
pub(super) enum Target {
    Stdout,
    File { path: PathBuf, replace: bool },
}

impl Target {
    /// Looks whether the bundle may be written there.
    ///
    /// # Errors
    /// [`Failure::conflict`] for a file that is there and may not be replaced, [`Failure::usage`] for a terminal and for
    /// what is no file.
    pub(super) fn check(path: &Path, replace: bool, output: &Output) -> Outcome<Self> {
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Failure::usage(
                    "a bundle is no text for a terminal",
                    "name a file with --out, or pipe standard output somewhere",
                ));
            }
            if output.is_json() {
                return Err(Failure::usage(
                    "standard output cannot hold a bundle and JSON",
                    "name a file with --out, or leave out --json",
                ));
            }
            return Ok(Self::Stdout);
        }
        if path.file_name().is_none() {
            return Err(no_file(path));
        }
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() => return Err(no_file(path)),
            Ok(_) if !replace => return Err(there(path)),
            _ => {}
        }
        Ok(Self::File {
            path: path.to_owned(),
            replace,
        })
    }

    pub(super) fn write(&self, sealed: &[u8], output: &Output) -> Outcome {
        match self {
            Self::Stdout => output.bytes(sealed),
            Self::File { path, replace } => write(path, *replace, sealed),
        }
    }
}

fn write(path: &Path, replace: bool, sealed: &[u8]) -> Outcome {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let written = Staged::create(directory)
        .and_then(|staged| staged.fill(sealed))
        .and_then(|staged| staged.put(path, replace));
    match written {
        Err(flaw) if flaw.kind() == io::ErrorKind::AlreadyExists => return Err(there(path)),
        written => written.map_err(|flaw| unwritable(path, &flaw))?,
    }
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|_| {
            Failure::system(
                format!("{} is written, but may not survive a power cut", path.display()),
                "check the disk, and export again with --force",
            )
        })
}

/// A file that is removed unless it was put in its place.
struct Staged {
    path: PathBuf,
    file: File,
    in_place: bool,
}

impl Staged {
    fn create(directory: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| io::ErrorKind::Other)?;
        let name = format!(".ncred-export-{:016x}", u64::from_ne_bytes(random));
        let path = directory.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            path,
            file,
            in_place: false,
        })
    }

    fn fill(mut self, bytes: &[u8]) -> io::Result<Self> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        Ok(self)
    }

    fn put(mut self, path: &Path, replace: bool) -> io::Result<()> {
        if replace {
            fs::rename(&self.path, path)?;
        } else {
            rename_new(&self.path, path)?;
        }
        self.in_place = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.in_place {
            // Nothing in it can be read without the key of the bundle.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Moves a file to where none may be.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; a second name is made only where there is none.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        moved => moved.map_err(Into::into),
    }
}

fn there(path: &Path) -> Failure {
    Failure::conflict(
        format!("there is a file {} already", path.display()),
        "choose another name, or pass --force to replace it",
    )
}

fn no_file(path: &Path) -> Failure {
    Failure::usage(
        format!("{} is not a plain file", path.display()),
        "name a file of its own with --out",
    )
}

fn unwritable(path: &Path, flaw: &io::Error) -> Failure {
    match flaw.kind() {
        io::ErrorKind::NotFound => Failure::not_found(
            format!("there is no directory for {}", path.display()),
            "make it, or check the path",
        ),
        io::ErrorKind::PermissionDenied => Failure::system(
            format!("you may not write {}", path.display()),
            "choose a directory of your own",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::system(
            format!("there is no space left for {}", path.display()),
            "free some, or choose another disk",
        ),
        _ => Failure::system(
            format!("{} cannot be written", path.display()),
            "check the disk it is on",
        ),
    }
}
