//! Putting right what a crash left: the end of the file, and the state that tells of it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use nebula_credential_core::CredentialError;

use super::LINE_MAX;
use crate::event::{Event, EventKind};
use crate::line::Sealed;
use crate::state::State;
use crate::unavailable;

/// Brings state and file together after a crash, and says what was found.
pub(super) fn recover(file: &File, len: u64, state: &mut State) -> Result<Event, CredentialError> {
    let mut event = Event::new(EventKind::LogRecovered);
    if len < state.len {
        let whole = last_line_end(file, len)?;
        file.set_len(whole)
            .map_err(|_| unavailable("the log cannot be put right after a crash"))?;
        state.len = whole;
        event.detail = Some(
            "the log was shorter than when it was last written: records before this one are missing".into(),
        );
        return Ok(event);
    }
    let missed = usize::try_from(len - state.len).unwrap_or(usize::MAX);
    let (mut taken_in, mut read) = (0_u32, 0);
    let mut buffer = vec![0; LINE_MAX];
    while read < missed {
        let window = buffer.get_mut(..LINE_MAX.min(missed - read)).unwrap_or_default();
        file.read_exact_at(window, state.len)
            .map_err(|_| unavailable("the log cannot be read"))?;
        let before = read;
        let lines = window.split_inclusive(|byte| *byte == b'\n');
        for line in lines.map_while(|line| line.strip_suffix(b"\n")) {
            let sealed = Sealed::parse(line).filter(|found| {
                found.seq == state.link.seq
                    && found.prev == state.link.prev
                    && found.is_authentic(&state.link)
            });
            let Some(sealed) = sealed else {
                return Err(unavailable(
                    "something else wrote into the log; verify it, keep it, and begin a new one under another path",
                ));
            };
            state.link.advance(sealed.hash);
            state.len += line.len() as u64 + 1;
            read += line.len() + 1;
            taken_in += 1;
        }
        if read == before {
            break;
        }
    }
    let dropped = missed - read;
    file.set_len(state.len)
        .map_err(|_| unavailable("the log cannot be put right after a crash"))?;
    event.detail = Some(
        format!("{taken_in} records had not been noted; {dropped} bytes of an unfinished one were dropped")
            .into(),
    );
    Ok(event)
}

/// Where the last whole line of the first `len` bytes ends.
fn last_line_end(file: &File, len: u64) -> Result<u64, CredentialError> {
    let start = len.saturating_sub(LINE_MAX as u64);
    let mut tail = vec![0; usize::try_from(len - start).unwrap_or(0)];
    file.read_exact_at(&mut tail, start)
        .map_err(|_| unavailable("the log cannot be read"))?;
    let end = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Ok(start + end as u64)
}
