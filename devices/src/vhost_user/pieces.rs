//! The bytes of a descriptor chain, copied once (virtio 1.2 section 2.7).
//!
//! A guest writes its descriptors and can change them and the data under us. So each byte is read once; what is judged is the
//! copy. Descriptors of a chain to be filled are read twice, for its size and for filling it: a guest that changes them in
//! between loses what was to be written and nothing else.

use virtio_queue::DescriptorChain;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryMmap, WriteVolatile,
};

/// Most descriptors that are looked at in one chain: Linux uses at most 19 for 64 KiB.
const MAX_DESCRIPTORS: usize = 64;

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

/// The rest of a chain, of one direction.
pub struct Pieces<'m> {
    chain: DescriptorChain<&'m GuestMemoryMmap>,
    writable: bool,
    seen: usize,
    at: GuestAddress,
    left: usize,
}

/// Bytes that a chain takes, of all its writable descriptors.
#[must_use]
pub fn room(chain: DescriptorChain<&GuestMemoryMmap>) -> usize {
    let lengths = chain.take(MAX_DESCRIPTORS);
    let lengths = lengths.filter(|descriptor| descriptor.is_write_only());
    lengths.map(|descriptor| descriptor.len() as usize).sum()
}

impl<'m> Pieces<'m> {
    /// The bytes of a chain that the device reads.
    #[must_use]
    pub fn readable(chain: DescriptorChain<&'m GuestMemoryMmap>) -> Self {
        Self::new(chain, false)
    }

    /// The bytes of a chain that the device writes.
    #[must_use]
    pub fn writable(chain: DescriptorChain<&'m GuestMemoryMmap>) -> Self {
        Self::new(chain, true)
    }

    fn new(chain: DescriptorChain<&'m GuestMemoryMmap>, writable: bool) -> Self {
        Self {
            chain,
            writable,
            seen: 0,
            at: GuestAddress(0),
            left: 0,
        }
    }

    /// Copies the next bytes out of the chain.
    pub fn read(&mut self, ram: &GuestMemoryMmap, mut into: &mut [u8]) -> Result<(), PiecesError> {
        while !into.is_empty() {
            let (at, len) = self.take(into.len())?;
            let (now, later) = into.split_at_mut(len);
            // Bytes in one region are found by one look.
            match ram.get_slice(at, len) {
                Ok(piece) => {
                    piece.copy_to(now);
                }
                Err(_) => ram.read_slice(now, at)?,
            }
            into = later;
        }
        Ok(())
    }

    /// Copies what is left of the chain behind `into`, at most `limit` bytes; returns whether that was all.
    pub fn read_rest(
        &mut self,
        ram: &GuestMemoryMmap,
        into: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, PiecesError> {
        let mut left = limit;
        // One byte more than may come shows that there is more.
        while let Ok((at, len)) = self.take(left + 1) {
            if len > left {
                return Ok(false);
            }
            match ram.get_slice(at, len) {
                Ok(piece) => into
                    .write_all_volatile(&piece)
                    .map_err(GuestMemoryError::from)?,
                Err(_) => ram.write_all_volatile_to(at, into, len)?,
            }
            left -= len;
        }
        Ok(self.seen < MAX_DESCRIPTORS)
    }

    /// Copies bytes into the chain.
    pub fn write(&mut self, ram: &GuestMemoryMmap, mut from: &[u8]) -> Result<(), PiecesError> {
        while !from.is_empty() {
            let (at, len) = self.take(from.len())?;
            let (now, later) = from.split_at(len);
            match ram.get_slice(at, len) {
                Ok(piece) => piece.copy_from(now),
                Err(_) => ram.write_slice(now, at)?,
            }
            from = later;
        }
        Ok(())
    }

    /// The next piece, of 1 to `wanted` bytes.
    fn take(&mut self, wanted: usize) -> Result<(GuestAddress, usize), PiecesError> {
        while self.left == 0 {
            let missing = PiecesError::TooShort { missing: wanted };
            if self.seen == MAX_DESCRIPTORS {
                return Err(missing);
            }
            self.seen += 1;
            let Some(piece) = self.chain.next() else {
                self.seen -= 1;
                return Err(missing);
            };
            if piece.is_write_only() == self.writable {
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
