//! The bytes of a descriptor chain that the device reads, copied once (virtio 1.2 section 2.7).
//!
//! A guest writes its descriptors and can change them and the data under us. So each descriptor and each byte is read once; what is
//! judged is the copy.

use vm_memory::GuestAddress;

use super::chain::Chain;

/// Most descriptors that are looked at in one chain: Linux uses at most 19 for 64 KiB.
pub(super) const MAX_DESCRIPTORS: usize = 64;

/// A chain has other bytes than are wanted.
#[derive(Debug, thiserror::Error)]
pub enum PiecesError {
    /// It is too short, or has too many pieces.
    #[error("the chain ends {missing} bytes early")]
    TooShort {
        /// How many bytes are missing.
        missing: usize,
    },
    /// It points outside the guest's RAM.
    #[error("the chain points outside the guest's RAM: {0}")]
    NotRam(#[from] vm_memory::GuestMemoryError),
}

/// The rest of a chain.
pub struct Pieces<'v, 'm> {
    chain: Chain<'v, 'm>,
    seen: usize,
    at: GuestAddress,
    left: usize,
}

impl<'v, 'm> Pieces<'v, 'm> {
    /// The bytes of a chain that the device reads.
    #[must_use]
    pub const fn of(chain: Chain<'v, 'm>) -> Self {
        Self {
            chain,
            seen: 0,
            at: GuestAddress(0),
            left: 0,
        }
    }

    /// Copies the next bytes out of the chain.
    #[inline]
    pub fn read(&mut self, mut into: &mut [u8]) -> Result<(), PiecesError> {
        while !into.is_empty() {
            let (at, len) = self.take(into.len())?;
            let (now, later) = into.split_at_mut(len);
            self.chain.view().read(at, now)?;
            into = later;
        }
        Ok(())
    }

    /// Copies what is left of the chain behind `into`, at most `limit` bytes; returns whether that was all.
    #[inline]
    pub fn read_rest(&mut self, into: &mut Vec<u8>, limit: usize) -> Result<bool, PiecesError> {
        let mut left = limit;
        // One byte more than may come shows that there is more.
        while let Ok((at, len)) = self.take(left + 1) {
            if len > left {
                return Ok(false);
            }
            self.chain.view().read_behind(at, len, into)?;
            left -= len;
        }
        Ok(self.seen < MAX_DESCRIPTORS)
    }

    /// The next piece, of 1 to `wanted` bytes.
    fn take(&mut self, wanted: usize) -> Result<(GuestAddress, usize), PiecesError> {
        while self.left == 0 {
            let missing = PiecesError::TooShort { missing: wanted };
            if self.seen == MAX_DESCRIPTORS {
                return Err(missing);
            }
            let Some(piece) = self.chain.next() else {
                return Err(missing);
            };
            self.seen += 1;
            if !piece.is_write_only() {
                self.at = piece.addr();
                self.left = piece.len() as usize;
            }
        }
        let (at, len) = (self.at, self.left.min(wanted));
        self.left -= len;
        // A wrapped address is outside of RAM, and the access says so.
        self.at = GuestAddress(at.0.wrapping_add(len as u64));
        Ok((at, len))
    }
}
