//! The boot image of x86: where the compressed kernel stands in it.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header").

use crate::little_endian::{array_at, u8_at, u16_at, u32_at};

const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

const SECTOR: usize = 512;

/// Why bytes are no bzImage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BzImageError {
    /// The magic `HdrS` is not at its place.
    #[error(
        "this is no bzImage: it lacks the magic `HdrS` at 0x202; pass the distribution's vmlinuz"
    )]
    NoMagic,
    /// A boot protocol before 2.08 does not say where the payload is.
    #[error(
        "boot protocol {major}.{minor:02} does not tell where the kernel is; 2.08 (Linux 2.6.26) or later is needed"
    )]
    TooOld {
        /// The protocol's major version.
        major: u8,
        /// The protocol's minor version.
        minor: u8,
    },
    /// The payload passes the end of the image.
    #[error("the bzImage ends before its kernel does; it is truncated")]
    Truncated,
}

/// The compressed kernel in `image`, as the header describes it.
///
/// # Errors
///
/// [`BzImageError`] for anything that is no complete bzImage.
pub fn payload(image: &[u8]) -> Result<&[u8], BzImageError> {
    if array_at(image, MAGIC) != Some(*b"HdrS") {
        return Err(BzImageError::NoMagic);
    }
    let version = u16_at(image, VERSION).ok_or(BzImageError::Truncated)?;
    if version < 0x0208 {
        let [minor, major] = version.to_le_bytes();
        return Err(BzImageError::TooOld { major, minor });
    }
    find(image).ok_or(BzImageError::Truncated)
}

fn find(image: &[u8]) -> Option<&[u8]> {
    // 0 stands for 4, from times when the field did not exist.
    let setup_sectors = match u8_at(image, SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let protected_mode = (setup_sectors + 1) * SECTOR;
    let offset = usize::try_from(u32_at(image, PAYLOAD_OFFSET)?).ok()?;
    let length = usize::try_from(u32_at(image, PAYLOAD_LENGTH)?).ok()?;
    image.get(protected_mode..)?.get(offset..)?.get(..length)
}
