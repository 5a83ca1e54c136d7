//! Copying packets between descriptor chains and private memory.

use super::header::{HEADER_LEN, Header};
use super::packet::MAX_PAYLOAD;
use crate::vhost_user::{Buffers, Chain, Pieces, PiecesError};

/// A chain does not hold a packet.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It is too short for what its header says, has too many pieces, or points outside the guest's RAM.
    #[error(transparent)]
    Pieces(#[from] PiecesError),
    /// The header announces more than any packet may hold.
    #[error("a payload of {0} bytes exceeds the limit of {MAX_PAYLOAD}")]
    TooLarge(u32),
}

/// Copies a packet out of a chain of the tx ring; `payload` is replaced by its payload.
///
/// The chain may be laid out at will: header and payload in one piece or in many.
pub fn read_packet(chain: Chain<'_, '_>, payload: &mut Vec<u8>) -> Result<Header, ChainError> {
    payload.clear();
    let mut pieces = Pieces::of(chain);
    let mut bytes = [0; HEADER_LEN];
    pieces.read(&mut bytes)?;
    let header = Header::from_bytes(&bytes);
    if header.len as usize > MAX_PAYLOAD {
        return Err(ChainError::TooLarge(header.len));
    }
    payload.resize(header.len as usize, 0);
    pieces.read(payload)?;
    Ok(header)
}

/// Bytes that a chain of the rx ring takes, at most one largest packet.
#[must_use]
pub fn room(buffers: &Buffers<'_, '_>) -> usize {
    buffers.room().min(HEADER_LEN + MAX_PAYLOAD)
}

/// Writes a packet into a chain of the rx ring; returns the bytes written.
pub fn write_packet(
    buffers: &mut Buffers<'_, '_>,
    header: &Header,
    payload: &[u8],
) -> Result<u32, ChainError> {
    buffers.write(&header.to_bytes())?;
    buffers.write(payload)?;
    // At most a header and MAX_PAYLOAD.
    Ok(u32::try_from(HEADER_LEN + payload.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
