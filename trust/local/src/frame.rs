//! Frames: a big-endian `u32` length, then one CBOR item.

use std::io::{self, Read, Write};

use minicbor::{Decode, Encode};

/// Memory that is reserved for an announced frame before anything of it has arrived: most frames are read at once so.
pub(crate) const AHEAD: usize = 16 << 10;

/// A frame could not be read, written or understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the link between two frames.
    #[error("the peer closed the link")]
    Closed,
    /// The link failed, or ended inside a frame.
    #[error("the link failed: {0}")]
    Io(#[from] io::Error),
    /// The frame is larger than this link allows.
    #[error("a frame of {size} bytes exceeds this link's limit of {limit}")]
    TooLarge {
        /// Announced size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are not the message that this link carries.
    #[error("the frame is not a message of this link: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// The bytes are the message, but not in its one deterministic encoding.
    #[error("the frame is not deterministically encoded (RFC 8949 section 4.2)")]
    NotDeterministic,
}

/// Encodes a message as deterministic CBOR.
pub fn encode<M: Encode<()>>(message: &M) -> Vec<u8> {
    match minicbor::to_vec(message) {
        Ok(bytes) => bytes,
        // INVARIANT: writing to a Vec is infallible, and minicbor's error type says so.
        Err(error) => match error.into_write() {
            Some(never) => match never {},
            None => Vec::new(),
        },
    }
}

/// Decodes a message and checks that its encoding is the deterministic one.
pub fn decode<M: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<M, FrameError> {
    let message = minicbor::decode(bytes)?;
    if encode(&message) == bytes {
        Ok(message)
    } else {
        Err(FrameError::NotDeterministic)
    }
}

/// Writes one frame of at most `limit` bytes.
pub fn write_frame<M: Encode<()>>(
    link: &mut impl Write,
    message: &M,
    limit: usize,
) -> Result<(), FrameError> {
    link.write_all(&framed(message, limit)?)?;
    Ok(link.flush()?)
}

/// Reads one frame of at most `limit` bytes; memory grows with what arrives, not with what is announced.
pub fn read_frame<M: Encode<()> + for<'b> Decode<'b, ()>>(
    link: &mut impl Read,
    limit: usize,
) -> Result<M, FrameError> {
    let mut head = [0; 4];
    match link.read(&mut head)? {
        0 => return Err(FrameError::Closed),
        n => link.read_exact(head.get_mut(n..).unwrap_or_default())?,
    }
    let size = checked_size(head, limit)?;
    let mut bytes = Vec::with_capacity(size.min(AHEAD));
    if link.by_ref().take(size as u64).read_to_end(&mut bytes)? != size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(&bytes)
}

pub(crate) fn framed<M: Encode<()>>(message: &M, limit: usize) -> Result<Vec<u8>, FrameError> {
    let body = encode(message);
    let too_large = || FrameError::TooLarge {
        size: body.len(),
        limit,
    };
    let size = u32::try_from(body.len()).map_err(|_| too_large())?;
    if body.len() > limit {
        return Err(too_large());
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&size.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

pub(crate) fn checked_size(head: [u8; 4], limit: usize) -> Result<usize, FrameError> {
    let size = u32::from_be_bytes(head) as usize;
    if size > limit {
        Err(FrameError::TooLarge { size, limit })
    } else {
        Ok(size)
    }
}

#[cfg(test)]
mod tests;
