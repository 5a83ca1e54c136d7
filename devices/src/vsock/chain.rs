//! Copying packets between descriptor chains and private memory (virtio 1.2 section 2.7).
//!
//! A guest writes its descriptors and can change them and the data under us. So each byte of a packet is
//! read once; what is judged is the copy. Descriptors of a chain to be filled are read twice, for its size and for
//! filling it: a guest that changes them in between loses that packet and nothing else.

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::header::{HEADER_LEN, Header};
use super::packet::MAX_PAYLOAD;

/// Most descriptors that are looked at in one chain: Linux uses at most 18 for 64 KiB.
const MAX_DESCRIPTORS: usize = 64;

/// A chain does not hold a packet.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It is too short for what its header says, or has too many pieces.
    #[error("the chain ends {missing} bytes early")]
    TooShort {
        /// How many bytes are missing.
        missing: usize,
    },
    /// It points outside the guest's RAM.
    #[error("the chain points outside the guest's RAM: {0}")]
    NotRam(#[from] vm_memory::GuestMemoryError),
    /// The header announces more than any packet may hold.
    #[error("a payload of {0} bytes exceeds the limit of {MAX_PAYLOAD}")]
    TooLarge(u32),
}

/// Copies a packet out of a chain of the tx ring; `payload` is replaced by its payload.
///
/// The chain may be laid out at will: header and payload in one piece or in many.
pub fn read_packet(
    ram: &GuestMemoryMmap,
    chain: DescriptorChain<&GuestMemoryMmap>,
    payload: &mut Vec<u8>,
) -> Result<Header, ChainError> {
    payload.clear();
    let mut pieces = Pieces::new(chain, false);
    let mut bytes = [0; HEADER_LEN];
    pieces.read(ram, &mut bytes)?;
    let header = Header::from_bytes(&bytes);
    if header.len as usize > MAX_PAYLOAD {
        return Err(ChainError::TooLarge(header.len));
    }
    payload.resize(header.len as usize, 0);
    pieces.read(ram, payload)?;
    Ok(header)
}

/// Bytes that a chain of the rx ring takes, at most one largest packet.
#[must_use]
pub fn room(chain: DescriptorChain<&GuestMemoryMmap>) -> usize {
    let total: usize = chain
        .writable()
        .take(MAX_DESCRIPTORS)
        .map(|d| d.len() as usize)
        .sum();
    total.min(HEADER_LEN + MAX_PAYLOAD)
}

/// Writes a packet into a chain of the rx ring; returns the bytes written.
pub fn write_packet(
    ram: &GuestMemoryMmap,
    chain: DescriptorChain<&GuestMemoryMmap>,
    header: &Header,
    payload: &[u8],
) -> Result<u32, ChainError> {
    let mut pieces = Pieces::new(chain, true);
    pieces.write(ram, &header.to_bytes())?;
    pieces.write(ram, payload)?;
    // At most a header and MAX_PAYLOAD.
    Ok(u32::try_from(HEADER_LEN + payload.len()).unwrap_or(u32::MAX))
}

/// The rest of a chain, of one direction.
struct Pieces<'m> {
    chain: DescriptorChain<&'m GuestMemoryMmap>,
    writable: bool,
    seen: usize,
    at: GuestAddress,
    left: usize,
}

impl<'m> Pieces<'m> {
    fn new(chain: DescriptorChain<&'m GuestMemoryMmap>, writable: bool) -> Self {
        Self {
            chain,
            writable,
            seen: 0,
            at: GuestAddress(0),
            left: 0,
        }
    }

    fn read(&mut self, ram: &GuestMemoryMmap, mut into: &mut [u8]) -> Result<(), ChainError> {
        while !into.is_empty() {
            let (at, len) = self.take(into.len())?;
            let (now, later) = into.split_at_mut(len);
            ram.read_slice(now, at)?;
            into = later;
        }
        Ok(())
    }

    fn write(&mut self, ram: &GuestMemoryMmap, mut from: &[u8]) -> Result<(), ChainError> {
        while !from.is_empty() {
            let (at, len) = self.take(from.len())?;
            let (now, later) = from.split_at(len);
            ram.write_slice(now, at)?;
            from = later;
        }
        Ok(())
    }

    /// The next piece, of 1 to `wanted` bytes.
    fn take(&mut self, wanted: usize) -> Result<(GuestAddress, usize), ChainError> {
        while self.left == 0 {
            let missing = ChainError::TooShort { missing: wanted };
            if self.seen == MAX_DESCRIPTORS {
                return Err(missing);
            }
            self.seen += 1;
            let Some(piece) = self.chain.next() else {
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

#[cfg(test)]
mod tests;
