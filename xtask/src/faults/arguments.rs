//! What the arguments of a call say.

use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::sys::ptrace::{self, AddressType};
use nix::unistd::Pid;

use super::calls::{At, Call, Kind};

/// Whether the call makes the file if it is not there. What `openat2` is told lies in memory; it is taken to do so.
pub(super) fn creates(call: &Call, arguments: [u64; 4]) -> bool {
    let flags = match call.at {
        _ if call.kind != Kind::Open => return false,
        At::Within(..) => arguments[2],
        _ => arguments[1],
    };
    matches!(call.name, "creat" | "openat2") || flags & libc::O_CREAT as u64 != 0
}

/// The name of a file by which every run knows it: random names end with 16 digits.
pub(super) fn known(name: &str) -> String {
    match name.rsplit_once('-') {
        Some((start, digits))
            if digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            format!("{start}-*")
        }
        _ => name.to_owned(),
    }
}

/// Descriptors are 32 bits wide; what the register holds above them says nothing.
pub(super) fn descriptor(argument: u64) -> u64 {
    argument & u64::from(u32::MAX)
}

/// The path without `.`, as the calls of the program write it; it goes nowhere back.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

/// The text that ends with a zero byte at an address of the program.
pub(super) fn text(id: Pid, address: u64) -> nix::Result<String> {
    let mut bytes = Vec::new();
    while bytes.len() < libc::PATH_MAX as usize {
        let word = ptrace::read(id, (address + bytes.len() as u64) as AddressType)?.to_ne_bytes();
        if let Some(end) = word.iter().position(|byte| *byte == 0) {
            bytes.extend(word.iter().take(end));
            break;
        }
        bytes.extend(word);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
