//! The compressed kernel of a boot image, in any of the formats that distributions use.
//!
//! Source: Linux, scripts/Makefile.lib (how the payload is made): except for gzip, four bytes with the
//! uncompressed size follow the compressed stream.

mod lz4;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

/// The largest kernel that is decompressed, in bytes. Distributions' kernels have about 50 to 100 MB.
pub const LIMIT: usize = 512 << 20;

/// A dictionary of xz larger than this is refused. The kernel's build uses at most 128 MiB.
const XZ_MEMORY_KIB: u32 = 192 << 10;

/// Why a payload could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The payload starts with no magic of a known format.
    #[error(
        "the kernel is compressed in an unknown way (it starts with {0:02x?}); gzip, xz, lz4 and zstd are known"
    )]
    UnknownFormat(Vec<u8>),
    /// The stream is damaged.
    #[error("the kernel's {format} stream is damaged: {source}")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The kernel is larger than [`LIMIT`].
    #[error("the kernel decompresses to more than {LIMIT} bytes")]
    TooLarge,
}

/// Decompresses `payload`; what is not compressed (an ELF file) is returned as it is.
///
/// # Errors
///
/// [`PayloadError`] for an unknown format, a damaged stream, or one that exceeds [`LIMIT`].
pub fn decompress(payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
    match *payload {
        [0x7f, b'E', b'L', b'F', ..] => Ok(payload.to_vec()),
        [0x1f, 0x8b, ..] => read("gzip", flate2::read::GzDecoder::new(payload)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read(
            "xz",
            lzma_rust2::XzReader::new_mem_limit(payload, false, XZ_MEMORY_KIB),
        ),
        [0x02, 0x21, 0x4c, 0x18, ref blocks @ ..] => lz4::decompress(blocks),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(payload);
            let decoder = decoder.map_err(|error| PayloadError::Damaged {
                format: "zstd",
                source: io::Error::other(error),
            })?;
            read("zstd", decoder)
        }
        _ => Err(PayloadError::UnknownFormat(
            payload.iter().take(6).copied().collect(),
        )),
    }
}

fn read(format: &'static str, stream: impl Read) -> Result<Vec<u8>, PayloadError> {
    let mut kernel = Vec::new();
    stream
        .take(LIMIT as u64 + 1)
        .read_to_end(&mut kernel)
        .map_err(|source| PayloadError::Damaged { format, source })?;
    if kernel.len() > LIMIT {
        return Err(PayloadError::TooLarge);
    }
    Ok(kernel)
}
