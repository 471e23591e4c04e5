//! A private file in memory for as long as an editor has it open, and nothing of it afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome};
use crate::input;

/// What the directories are called; what follows is random.
const PREFIX: &str = "ncred-edit-";

/// How often wiping starts anew when an editor that is just ending writes once more.
const WIPE_ATTEMPTS: usize = 5;

/// A directory of mode 0700 with one file of mode 0600 in it. Both, and whatever an editor left beside the file, are
/// overwritten and removed when this is dropped.
pub(super) struct Scratch {
    directory: PathBuf,
    file: PathBuf,
    /// Whether overwriting must reach a disk.
    is_on_disk: bool,
    /// Held locked while this process lives: what lies there unlocked was left by one that was killed.
    lock: Option<File>,
}

impl Scratch {
    /// Makes the directory on the first memory-backed file system there is: `$XDG_RUNTIME_DIR`, `/dev/shm`. With
    /// `on_disk`, if there is none, in the directory for temporary files.
    ///
    /// # Errors
    /// [`Failure::state`] if there is none.
    pub(super) fn create(name: &str, on_disk: bool) -> Outcome<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let shared = PathBuf::from("/dev/shm");
        let in_memory = runtime
            .into_iter()
            .filter(|path| path.is_absolute())
            .chain([shared])
            .filter(|path| is_in_memory(path));
        for base in in_memory {
            if let Ok(scratch) = Self::create_in(&base, name, false) {
                return Ok(scratch);
            }
        }
        if !on_disk {
            return Err(Failure::state(
                "there is no memory-backed directory to edit in: neither $XDG_RUNTIME_DIR nor /dev/shm is a tmpfs that \
                 you may write to",
                "mount one, or accept with --on-disk that the secrets touch the disk for the time of the edit",
            ));
        }
        Self::create_in(&std::env::temp_dir(), name, true).map_err(|_| {
            Failure::system(
                "no private file can be made in the directory for temporary files",
                "set TMPDIR to a directory that you may write to",
            )
        })
    }

    fn create_in(base: &Path, name: &str, is_on_disk: bool) -> io::Result<Self> {
        sweep(base, is_on_disk);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| io::ErrorKind::Other)?;
        let directory = base.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random)));
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let mut scratch = Self {
            // Names of credentials are plain ASCII; only `/` means something to a file system.
            file: directory.join(format!("{}.json", name.replace('/', "-"))),
            directory,
            is_on_disk,
            lock: None,
        };
        // The umask may have taken away bits the owner needs.
        fs::set_permissions(&scratch.directory, fs::Permissions::from_mode(0o700))?;
        scratch.lock = Some(lock(&scratch.directory)?);
        // What was asked of the base must hold of where the file will really be.
        if !is_on_disk && !is_in_memory(&scratch.directory) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(scratch)
    }

    pub(super) fn is_on_disk(&self) -> bool {
        self.is_on_disk
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes the file, with mode 0600.
    pub(super) fn write(&self, text: &[u8]) -> Outcome {
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)
            .and_then(|mut file| {
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                file.write_all(text)
            });
        written.map_err(|_| {
            Failure::system(
                "the private file cannot be written",
                "check the space left in $XDG_RUNTIME_DIR or /dev/shm",
            )
        })
    }

    /// What the editor left in the file, at most `max` bytes.
    pub(super) fn read(&self, max: usize) -> Outcome<Zeroizing<Vec<u8>>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(&self.file);
        let read = opened.and_then(|mut file| input::read_limited(&mut file, max));
        read.map_err(|_| {
            Failure::state(
                "the editor left no file behind; nothing was stored",
                "save the file under the name it was opened with",
            )
        })?
        .ok_or_else(|| {
            Failure::usage(
                format!("the edited value has more than {max} bytes"),
                "store a smaller value; large files belong in a file store, and their key here",
            )
        })
    }

    /// Overwrites and removes everything.
    ///
    /// # Errors
    /// [`Failure::system`] naming the directory that is left.
    pub(super) fn wipe(&mut self) -> Outcome {
        if self.lock.is_none() && !exists(&self.directory) {
            return Ok(());
        }
        let wiped = wipe(&self.directory, self.is_on_disk);
        self.lock = None;
        wiped.map_err(|_| {
            Failure::system(
                format!("{} could not be removed", self.directory.display()),
                "it may hold secrets: remove it",
            )
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever wants to know has called `wipe`.
        let _ = self.wipe();
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Opens a directory and locks it, unless another process has.
fn lock(directory: &Path) -> io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::DIRECTORY | OFlags::NOFOLLOW))
        .open(directory)?;
    rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive)?;
    // Another process may have taken it for an abandoned one before it was locked.
    if opened.metadata()?.nlink() == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(opened)
}

/// Removes what processes left behind that had no time to: those that were killed with SIGKILL.
fn sweep(base: &Path, is_on_disk: bool) {
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    let named = |entry: &fs::DirEntry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
    };
    for entry in entries.flatten().filter(named) {
        let is_own = entry
            .metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == user);
        if is_own && let Ok(_locked) = lock(&entry.path()) {
            let _ = wipe(&entry.path(), is_on_disk);
        }
    }
}

/// Overwrites and removes every file below `directory`, and the directory itself.
fn wipe(directory: &Path, is_on_disk: bool) -> io::Result<()> {
    let mut wiped = Ok(());
    for _ in 0..WIPE_ATTEMPTS {
        wiped = wipe_once(directory, is_on_disk);
        if wiped.is_ok() {
            break;
        }
    }
    wiped
}

fn wipe_once(directory: &Path, is_on_disk: bool) -> io::Result<()> {
    let mut flaw = None;
    for entry in fs::read_dir(directory)?.flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory {
            wipe_once(&path, is_on_disk)
        } else {
            // A file that cannot be overwritten is removed all the same.
            let overwritten = overwrite(&path, is_on_disk);
            fs::remove_file(&path).and(overwritten)
        };
        // One that stays does not keep the others.
        flaw = flaw.or(removed.err());
    }
    fs::remove_dir(directory)?;
    flaw.map_or(Ok(()), Err)
}

fn overwrite(path: &Path, is_on_disk: bool) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    if !path.symlink_metadata()?.is_file() {
        return Ok(());
    }
    let open = || {
        OpenOptions::new()
            .write(true)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(path)
    };
    // Some editors write backups that their owner may not change.
    let mut file = open().or_else(|_| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        open()
    })?;
    let mut left = file.metadata()?.len();
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all(ZEROS.get(..part).unwrap_or_default())?;
        left -= part as u64;
    }
    if is_on_disk { file.sync_data() } else { Ok(()) }
}

/// The flags as the standard library takes them.
fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Whether what is written below `path` stays in memory: by the magic numbers of `statfs(2)`, from
/// `linux/magic.h`.
#[cfg(target_os = "linux")]
fn is_in_memory(path: &Path) -> bool {
    const TMPFS_MAGIC: i128 = 0x0102_1994;
    const RAMFS_MAGIC: i128 = 0x8584_58f6;
    // How wide the field is depends on the architecture, and so does whether 32 bits are extended by their sign.
    rustix::fs::statfs(path).is_ok_and(|found| {
        let magic = i128::from(found.f_type) & 0xffff_ffff;
        magic == TMPFS_MAGIC || magic == RAMFS_MAGIC
    })
}

/// Elsewhere it is not known how to tell.
#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &Path) -> bool {
    false
}
