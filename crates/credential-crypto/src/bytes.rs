//! Reading and writing of fixed binary layouts: big-endian, bounded, nothing left over.

use chrono::{DateTime, Utc};

/// The bytes do not have the layout asked for. What that means is for the caller to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes fields off the front of a slice. Allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|bytes| u8::from_be_bytes(*bytes))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(crate) fn time(&mut self) -> Result<DateTime<Utc>, Malformed> {
        let micros = i64::from_be_bytes(*self.array()?);
        DateTime::from_timestamp_micros(micros).ok_or(Malformed)
    }

    /// A field behind its two length bytes, of at most `limit` bytes.
    pub(crate) fn block(&mut self, limit: usize) -> Result<&'a [u8], Malformed> {
        let length = usize::from(self.u16()?);
        if length > limit {
            return Err(Malformed);
        }
        self.take(length)
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) const fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Puts fields into a buffer of exactly the right size, which never moves.
pub(crate) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self(buffer)
    }

    /// The next `length` bytes, to be written by the caller.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<&'a mut [u8], Malformed> {
        let buffer = std::mem::take(&mut self.0);
        let (field, rest) = buffer.split_at_mut_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// A field whose length the compiler knows: no call to copy it.
    pub(crate) fn array<const N: usize>(&mut self, bytes: &[u8; N]) -> Result<(), Malformed> {
        let buffer = std::mem::take(&mut self.0);
        let (field, rest) = buffer.split_first_chunk_mut::<N>().ok_or(Malformed)?;
        *field = *bytes;
        self.0 = rest;
        Ok(())
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.reserve(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Appends `bytes` behind their two length bytes.
pub(crate) fn put_block(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Malformed> {
    let length = u16::try_from(bytes.len()).map_err(|_| Malformed)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
