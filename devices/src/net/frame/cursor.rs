//! Reading foreign bytes from front to back.

use super::FrameError;

/// What is left to be read.
pub(super) struct Cursor<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> Cursor<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self::at(bytes, 0)
    }

    pub(super) const fn at(bytes: &'b [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    /// How many bytes have been read or skipped.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    pub(super) fn take(&mut self, size: usize) -> Result<&'b [u8], FrameError> {
        let end = self.position.checked_add(size);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or(FrameError::Truncated)?;
        self.position += size;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| FrameError::Truncated)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FrameError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// In network order.
    pub(super) fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    /// In network order.
    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }
}
