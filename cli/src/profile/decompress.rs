//! Decompression that stops: a package of a few kilobytes can announce terabytes.

use std::io::{self, Read};

use super::PackageError;

/// Most bytes that one package may unpack to.
pub(super) const MAX_UNPACKED: u64 = 1 << 30;
/// Largest decoder dictionary or window, in KiB (dpkg's `xz -9` needs 64 MiB).
const MAX_WINDOW_KIB: u32 = 128 << 10;

/// A reader of the unpacked bytes of `data.tar` with that suffix.
pub(super) fn reader<'d>(
    suffix: &str,
    packed: &'d [u8],
) -> Result<Box<dyn Read + 'd>, PackageError> {
    let unpacked: Box<dyn Read + 'd> = match suffix {
        "" => Box::new(packed),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        ".xz" => Box::new(lzma_rust2::XzReader::new_mem_limit(
            packed,
            true,
            MAX_WINDOW_KIB,
        )),
        ".zst" => {
            let window = u64::from(MAX_WINDOW_KIB) << 10;
            let decoder =
                ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, window);
            Box::new(decoder.map_err(|error| PackageError::Unpack(io::Error::other(error)))?)
        }
        other => {
            return Err(PackageError::Compression {
                suffix: other.into(),
            });
        }
    };
    Ok(Box::new(Bounded {
        inner: unpacked,
        left: MAX_UNPACKED,
    }))
}

/// Fails, instead of ending, where more than `left` bytes come.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to more than 1 GiB")
        })?;
        Ok(count)
    }
}
