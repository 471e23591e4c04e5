//! The memory of this process, as an attacker with a core dump sees it.

use std::fs::File;
use std::io;
use std::ops::Range;

use zeroize::Zeroizing;

use super::forms::PART;
use super::{Leak, LeakHunter};

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// The smallest page there is.
const PAGE: u64 = 4096;

impl LeakHunter {
    /// Every canary in the memory of this process, in any form, by address: heap, stacks, static data and mapped
    /// files. The hunter and the canaries themselves hold none.
    ///
    /// Call it where other threads are quiet: what moves while it is read may be found twice or not at all.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) elsewhere than on Linux, and what reading `/proc/self` reports.
    #[cfg(target_os = "linux")]
    pub fn search_memory(&self) -> io::Result<Vec<Leak>> {
        use std::os::unix::fs::FileExt as _;

        let longest = self
            .needles
            .iter()
            .map(super::hunter::Needle::len)
            .max()
            .unwrap_or(0);
        let mut buffer = Zeroizing::new(vec![0_u8; CHUNK + longest]);
        let own = address(&buffer);
        let memory = File::open("/proc/self/mem")?;
        let mut leaks = Vec::new();
        for region in readable()?.into_iter().flat_map(|region| without(&region, &own)) {
            let mut at = region.start;
            while at < region.end {
                let length = usize::try_from(region.end - at)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let Some(chunk) = buffer.get_mut(..length) else {
                    break;
                };
                // A page may be gone since it was listed, or not be readable in fact; the next one may be.
                let length = memory.read_at(chunk, at).unwrap_or(0);
                let Some(chunk) = chunk.get(..length).filter(|chunk| !chunk.is_empty()) else {
                    at = (at / PAGE + 1) * PAGE;
                    continue;
                };
                // What begins in the overlap is found with the next chunk, if there is one.
                let last = at + length as u64 >= region.end;
                let own = if last {
                    length
                } else {
                    length.saturating_sub(longest).max(1)
                };
                for needle in &self.needles {
                    let found = needle.find(chunk).filter(|start| *start < own);
                    leaks.extend(found.map(|start| needle.leak(at + start as u64)));
                }
                at += own as u64;
            }
        }
        leaks.sort_by_key(|leak| leak.offset);
        Ok(self.without_parts_of_wholes(leaks))
    }

    /// Every canary in the memory of this process.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported): this is possible on Linux only.
    #[cfg(not(target_os = "linux"))]
    pub fn search_memory(&self) -> io::Result<Vec<Leak>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A whole copy is not counted again for its beginning and end.
    fn without_parts_of_wholes(&self, leaks: Vec<Leak>) -> Vec<Leak> {
        let length = |name: &str| {
            let plain = self.needles.iter().find(|needle| needle.is(name, "plain"));
            plain.map_or(0, |needle| needle.len() as u64)
        };
        let whole = |leak: &Leak, offset: u64| {
            leaks
                .iter()
                .any(|other| (&other.canary, other.form, other.offset) == (&leak.canary, "plain", offset))
        };
        let kept = leaks.iter().filter(|leak| match leak.form {
            "beginning" => !whole(leak, leak.offset),
            "end" => !whole(
                leak,
                (leak.offset + PART as u64).wrapping_sub(length(&leak.canary)),
            ),
            _ => true,
        });
        kept.cloned().collect()
    }
}

fn address(buffer: &Vec<u8>) -> Range<u64> {
    let start = buffer.as_ptr().addr() as u64;
    start..start + buffer.capacity() as u64
}

/// `region` without `hole`.
fn without(region: &Range<u64>, hole: &Range<u64>) -> Vec<Range<u64>> {
    let before = region.start..region.end.min(hole.start);
    let behind = region.start.max(hole.end)..region.end;
    if before.end >= region.end || behind.start <= region.start {
        return vec![region.clone()];
    }
    [before, behind]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect()
}

/// The readable regions of this process.
#[cfg(target_os = "linux")]
fn readable() -> io::Result<Vec<Range<u64>>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let region = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        // The kernel's own pages hold no secret of ours and cannot be read this way.
        let ours = rest.starts_with('r') && !rest.ends_with("[vvar]") && !rest.ends_with("[vsyscall]");
        ours.then_some(start..end)
    };
    Ok(maps.lines().filter_map(region).collect())
}
