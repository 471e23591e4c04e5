//! The calls that change files or open them, by what they do and where they name their file.

use nix::libc;

/// What a call does to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    /// Takes bytes; the third argument is their number.
    Write,
    /// Changes the length.
    Truncate,
    Sync,
    /// Makes an entry of a directory.
    Name,
    /// Takes one away.
    Remove,
}

/// Where a call names its file, by the index of the argument.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Descriptor,
    Path(usize),
    /// A path, from a directory that is open.
    Within(usize, usize),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) number: i64,
    pub(super) kind: Kind,
    pub(super) at: At,
}

const fn call(name: &'static str, number: i64, kind: Kind, at: At) -> Call {
    Call {
        name,
        number,
        kind,
        at,
    }
}

/// All of them, not only those that the programs of today make: one that is new to a program is a point like any other.
/// Vectored writes are shortened by none of the faults, since their length is not an argument.
pub(super) const CALLS: &[Call] = &[
    call("open", libc::SYS_open, Kind::Open, At::Path(0)),
    call("creat", libc::SYS_creat, Kind::Open, At::Path(0)),
    call("openat", libc::SYS_openat, Kind::Open, At::Within(0, 1)),
    call("openat2", libc::SYS_openat2, Kind::Open, At::Within(0, 1)),
    call("write", libc::SYS_write, Kind::Write, At::Descriptor),
    call("pwrite64", libc::SYS_pwrite64, Kind::Write, At::Descriptor),
    call("writev", libc::SYS_writev, Kind::Write, At::Descriptor),
    call("pwritev", libc::SYS_pwritev, Kind::Write, At::Descriptor),
    call("truncate", libc::SYS_truncate, Kind::Truncate, At::Path(0)),
    call("ftruncate", libc::SYS_ftruncate, Kind::Truncate, At::Descriptor),
    call("fallocate", libc::SYS_fallocate, Kind::Truncate, At::Descriptor),
    call("fsync", libc::SYS_fsync, Kind::Sync, At::Descriptor),
    call("fdatasync", libc::SYS_fdatasync, Kind::Sync, At::Descriptor),
    call("mkdir", libc::SYS_mkdir, Kind::Name, At::Path(0)),
    call("mkdirat", libc::SYS_mkdirat, Kind::Name, At::Within(0, 1)),
    call("rename", libc::SYS_rename, Kind::Name, At::Path(1)),
    call("renameat", libc::SYS_renameat, Kind::Name, At::Within(2, 3)),
    call("renameat2", libc::SYS_renameat2, Kind::Name, At::Within(2, 3)),
    call("link", libc::SYS_link, Kind::Name, At::Path(1)),
    call("linkat", libc::SYS_linkat, Kind::Name, At::Within(2, 3)),
    call("unlink", libc::SYS_unlink, Kind::Remove, At::Path(0)),
    call("unlinkat", libc::SYS_unlinkat, Kind::Remove, At::Within(0, 1)),
    call("rmdir", libc::SYS_rmdir, Kind::Remove, At::Path(0)),
];

impl Call {
    pub(super) fn of(number: i64) -> Option<&'static Self> {
        CALLS.iter().find(|call| call.number == number)
    }

    /// Whether its third argument is how many bytes it takes.
    pub(super) fn has_length(&self) -> bool {
        matches!(self.name, "write" | "pwrite64")
    }
}
