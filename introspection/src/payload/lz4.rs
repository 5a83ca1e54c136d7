//! The legacy frame of LZ4, which the kernel's build uses.
//!
//! Source: LZ4 project, doc/lz4_Frame_format.md, "Legacy frame": after the magic come blocks of up to 8 MiB, each
//! behind its compressed size; all but the last are full.

use std::io;

use super::{LIMIT, PayloadError};
use crate::little_endian::u32_at;

const BLOCK: usize = 8 << 20;

/// Decompresses the blocks behind the magic.
pub(super) fn decompress(blocks: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut kernel = Vec::new();
    let mut rest = blocks;
    // The last four bytes are the uncompressed size, which the build appends; they look like a block's size.
    while rest.len() > 4 {
        let (block, behind) =
            split(rest).ok_or_else(|| damaged(io::ErrorKind::UnexpectedEof.into()))?;
        let done = kernel.len();
        if done + BLOCK > LIMIT {
            return Err(PayloadError::TooLarge);
        }
        kernel.resize(done + BLOCK, 0);
        let room = kernel.get_mut(done..).unwrap_or_default();
        let size = lz4_flex::block::decompress_into(block, room)
            .map_err(|error| damaged(io::Error::other(error)))?;
        kernel.truncate(done + size);
        rest = behind;
        if size < BLOCK {
            break;
        }
    }
    Ok(kernel)
}

/// The first block, and what is behind it.
fn split(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let size = usize::try_from(u32_at(rest, 0)?).ok()?;
    rest.get(4..)?.split_at_checked(size)
}

fn damaged(source: io::Error) -> PayloadError {
    PayloadError::Damaged {
        format: "lz4",
        source,
    }
}
