//! The directory of a store: what is checked before SQLite sees it, and how connections are made.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nebula_credential_core::{CredentialError, limits};
use nebula_credential_fs::{FileLock, PrivateDir, classify};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

use crate::counters::{self, Counters};
use crate::error::{Fault, newer, not_a_store};
use crate::schema::{self, Format, MIGRATIONS};

const DATABASE: &str = "store.db";
const WAL: &str = "store.db-wal";
const SHARED_MEMORY: &str = "store.db-shm";
const JOURNAL: &str = "store.db-journal";
/// Held by the one process that writes.
const WRITER: &str = "writer.lock";
/// Held by the process that writes next, while it waits for [`WRITER`].
const TURN: &str = "turn.lock";

/// How long a writer waits for a lock of SQLite. The locks of this crate keep writers apart, so only a database tool, or
/// a peer that opens or closes the store, makes it wait at all.
const BUSY: Duration = Duration::from_secs(5);
/// How long a reader does, on the thread of its caller: a peer that recovers or closes the store takes milliseconds.
const BUSY_READER: Duration = Duration::from_secs(1);

/// Longest row, in bytes: a payload with its head, or a head with its tags, whose JSON may escape every byte. SQLite
/// refuses a longer one before it reads it.
const ROW_MAX: usize = limits::SEALED_BYTES_MAX + 2 * limits::TAGS_BYTES + 16 * 1024;

/// How long the process that writes next looks for [`WRITER`] before it sleeps. A put takes 0.2 ms on a fast disk, and to
/// wake a sleeper on an idle core of a virtual machine 40 µs, which every put beside a busy process would pay twice. Where
/// puts take longer, that no longer matters. Only the holder of [`TURN`] looks, so one core at most is kept busy.
const LOOK: Duration = Duration::from_micros(500);

/// Every value here differs from SQLite's default, and why:
/// damage is found when a page is read; deleted payloads are overwritten; nothing is written to temporary files; a
/// truncated file is an error rather than a signal; an acknowledged commit survives the loss of power; checkpoints
/// are made when nobody waits; the log shrinks again after a burst.
const PRAGMAS: &str = "
PRAGMA cell_size_check = ON;
PRAGMA secure_delete = ON;
PRAGMA temp_store = MEMORY;
PRAGMA mmap_size = 0;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 16777216;
";

/// A reader cannot write, and keeps 4 MiB of pages rather than 2: the upper levels of all tables of 100,000 credentials,
/// which the payloads that pass through would push out. That saves a read of the file for every third get. To map the
/// file into memory would save a tenth to a fifth of a get, and turn a truncated file into a signal.
const READER_PRAGMAS: &str = "
PRAGMA query_only = ON;
PRAGMA cache_size = -4096;
";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Writer,
}

/// An open store: a directory that was checked, with a database of the current format in it.
pub(crate) struct Home {
    dir: PrivateDir,
    database: PathBuf,
    counters: OnceLock<Counters>,
}

impl Home {
    /// Opens the store in `path`, or makes one there if `create`. Blocks. With the connection that was needed for it, if
    /// that can go on reading.
    pub(crate) fn open(path: &Path, create: bool) -> Result<(Self, Option<Connection>), CredentialError> {
        if path.as_os_str().is_empty() {
            return Err(CredentialError::invalid_name(
                "the path of the store is empty; give a directory, such as ./secrets",
            ));
        }
        let dir = if create {
            PrivateDir::create(path)?
        } else {
            PrivateDir::open(path)?
        };
        refuse_network(dir.path())?;
        let home = Self {
            database: dir.path().join(DATABASE),
            dir,
            counters: OnceLock::new(),
        };
        let reader = home.prepare(create)?;
        Ok((home, reader))
    }

    /// The directory, absolute and without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn prepare(&self, create: bool) -> Result<Option<Connection>, CredentialError> {
        self.check_files(create)?;
        let current = self.connect(Role::Reader).and_then(|conn| {
            let is_current = self.is_current(&conn, create)?;
            Ok(is_current.then_some(conn))
        });
        if let Some(conn) = current.map_err(|fault| self.explain(fault))? {
            return Ok(Some(conn));
        }
        let _lock = self.lock_writer()?;
        self.upgrade(create).map_err(|fault| self.explain(fault))?;
        Ok(None)
    }

    /// SQLite opens what it finds: links, FIFOs and files of others are told apart here. Afterwards nobody but this
    /// user can change what lies in the directory. No file is opened: closing it would drop the locks that SQLite
    /// holds on it elsewhere in this process.
    fn check_files(&self, create: bool) -> Result<(), CredentialError> {
        let database = self.dir.check_file(DATABASE)?;
        let wal = self.dir.check_file(WAL)?;
        for name in [SHARED_MEMORY, JOURNAL, WRITER, TURN, counters::FILE] {
            self.dir.check_file(name)?;
        }
        let log_is_empty = wal.is_none_or(|file| file.len == 0);
        match database {
            Some(file) if file.len > 0 || log_is_empty => Ok(()),
            // SQLite would take the empty file for a new one and drop the log, and with it every credential in it.
            _ if !log_is_empty => Err(CredentialError::storage(format!(
                "{:?} is missing or empty, and its log {WAL} is not; restore both from a backup",
                self.database
            ))),
            // Empty, mode 0600 and durable: SQLite gives the files it adds the mode of this one.
            None if create => self.dir.create_new(DATABASE, b"").map(|_| ()),
            _ => Err(CredentialError::storage(format!(
                "there is no credential store in {:?}; check the path, or create one first",
                self.path()
            ))),
        }
    }

    /// Whether the store has the current format and mode of operation.
    fn is_current(&self, conn: &Connection, create: bool) -> Result<bool, Fault> {
        match schema::inspect(conn)? {
            Format::Foreign => Err(not_a_store(&self.database).into()),
            Format::Empty if create => Ok(false),
            Format::Empty => Err(not_a_store(&self.database).into()),
            Format::Store(format) if format > MIGRATIONS.len() => Err(newer(&self.database).into()),
            Format::Store(format) if format < MIGRATIONS.len() => Ok(false),
            Format::Store(_) => {
                let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
                Ok(mode == "wal")
            }
        }
    }

    /// Makes the tables, or brings them up to date. Under the lock, so that only one process does.
    fn upgrade(&self, create: bool) -> Result<(), Fault> {
        let mut conn = self.connect(Role::Writer)?;
        if self.is_current(&conn, create)? {
            return Ok(());
        }
        let from = match schema::inspect(&conn)? {
            Format::Store(format) => format,
            Format::Empty | Format::Foreign => 0,
        };
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(CredentialError::storage(format!(
                "the file system under {:?} has no shared memory, which the store needs; choose a local disk",
                self.path()
            ))
            .into());
        }
        schema::migrate(&mut conn, MIGRATIONS, from)?;
        // Otherwise the next to open the store reads it; that loses nothing.
        let _ = empty_log(&conn, Duration::ZERO);
        Ok(())
    }

    /// A new connection.
    pub(crate) fn connect(&self, role: Role) -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let conn = Connection::open_with_flags(&self.database, flags)?;
        conn.busy_timeout(if role == Role::Reader { BUSY_READER } else { BUSY })?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // Plans do not depend on what is bound: otherwise each new binding prepares the statement again.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // What the file says must not run code: no triggers, no views, no functions named in the schema.
        for risk in [
            DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA,
            DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
            DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW,
        ] {
            conn.set_db_config(risk, false)?;
        }
        // Readers close on the threads of their callers, which must not wait for the disk. The writer empties the log
        // itself.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let row_max = i32::try_from(ROW_MAX).unwrap_or(i32::MAX);
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, row_max)?;
        conn.execute_batch(PRAGMAS)?;
        if role == Role::Reader {
            conn.execute_batch(READER_PRAGMAS)?;
        }
        if role == Role::Writer {
            // SQLite makes the log when it first reads, and where it syncs the directory for it, it takes no notice of a
            // failure: a commit into a log whose name does not last would be acknowledged.
            let _: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            self.dir.sync()?;
        }
        conn.set_prepared_statement_cache_capacity(64);
        Ok(conn)
    }

    /// Waits until no other process writes. Blocks.
    ///
    /// A process that writes without pause retakes a lock before those it woke are running. So who wants to write
    /// first takes the turn, and keeps it until it may write: the one that just wrote has to queue behind it.
    pub(crate) fn lock_writer(&self) -> Result<FileLock, CredentialError> {
        let _turn = FileLock::lock(&self.dir, TURN)?;
        FileLock::lock_spinning(&self.dir, WRITER, LOOK)
    }

    /// What tells caches that a value changed; mapped on first use.
    pub(crate) fn counters(&self) -> Result<&Counters, CredentialError> {
        if let Some(counters) = self.counters.get() {
            return Ok(counters);
        }
        let counters = Counters::open(&self.dir)?;
        Ok(self.counters.get_or_init(|| counters))
    }

    /// The same, if nobody writes.
    pub(crate) fn try_lock_writer(&self) -> Result<Option<FileLock>, CredentialError> {
        FileLock::try_lock(&self.dir, WRITER)
    }

    /// Translates a fault that changed nothing.
    pub(crate) fn explain(&self, fault: Fault) -> CredentialError {
        fault.classify(&self.database)
    }

    /// Translates a fault of a commit.
    pub(crate) fn explain_commit(&self, fault: Fault) -> CredentialError {
        fault.classify_commit(&self.database)
    }
}

/// Writes the log back and cuts it to nothing, unless somebody reads from it for longer than `wait`. Under the lock of
/// writers.
pub(crate) fn empty_log(conn: &Connection, wait: Duration) -> rusqlite::Result<()> {
    conn.busy_timeout(wait)?;
    let emptied = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::TRUNCATE);
    conn.busy_timeout(BUSY)?;
    emptied.map(drop)
}

/// The log needs memory shared between processes and locks that hold, which network file systems do not give.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn refuse_network(path: &Path) -> Result<(), CredentialError> {
    let found = rustix::fs::statfs(path).map_err(|errno| classify(&errno.into(), "examine", path))?;
    // The width of the field differs between systems; every magic number has 32 bits.
    match network(found.f_type as u32) {
        None => Ok(()),
        Some(kind) => Err(CredentialError::insecure_storage(format!(
            "{path:?} is on a network file system ({kind}), where locks and syncs do not hold; choose a local disk, \
             or a remote store"
        ))),
    }
}

/// The network file system with this number, from `linux/magic.h` and the sources of each.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn network(magic: u32) -> Option<&'static str> {
    match magic {
        0x0000_6969 => Some("NFS"),
        0x0000_517b | 0xfe53_4d42 => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x786f_4256 => Some("VirtualBox shared folder"),
        _ => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn refuse_network(_: &Path) -> Result<(), CredentialError> {
    Ok(())
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        // NFS, SMB 2 and CIFS; then ext4, btrfs, XFS, tmpfs, overlayfs and ZFS.
        for magic in [0x6969, 0xfe53_4d42, 0xff53_4d42] {
            assert!(network(magic).is_some(), "{magic:x}");
        }
        for magic in [
            0xef53,
            0x9123_683e,
            0x5846_5342,
            0x0102_1994,
            0x794c_7630,
            0x2fc1_2fc1,
        ] {
            assert_eq!(network(magic), None, "{magic:x}");
        }
    }
}
