//! What the kernel says about this process.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// One mapping of `/proc/self/smaps`.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) permissions: String,
    pub(crate) flags: Vec<String>,
}

pub(crate) fn mappings() -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        if first == "VmFlags:" {
            mappings.last_mut().unwrap().flags = words.map(str::to_owned).collect();
        } else if let Some((start, end)) = first.split_once('-')
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            let permissions = words.next().unwrap().to_owned();
            mappings.push(Mapping {
                start,
                end,
                permissions,
                flags: Vec::new(),
            });
        }
    }
    mappings
}

pub(crate) fn mapping_of(address: usize) -> Mapping {
    mappings()
        .into_iter()
        .find(|m| (m.start..m.end).contains(&address))
        .unwrap()
}

/// `VmLck`: locked memory in KiB.
pub(crate) fn locked_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Reads memory past the borrow checker, as a debugger does.
pub(crate) struct Memory(File);

impl Memory {
    pub(crate) fn open() -> Self {
        Self(File::open("/proc/self/mem").unwrap())
    }

    pub(crate) fn read(&self, address: usize, buffer: &mut [u8]) {
        self.0
            .read_exact_at(buffer, u64::try_from(address).unwrap())
            .unwrap();
    }
}
