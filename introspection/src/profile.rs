//! All that must be known of a kernel to read its objects from outside, made from its boot image alone.

#[cfg(test)]
mod tests;

use crate::btf::{Btf, BtfError, Field};
use crate::bzimage::{self, BzImageError};
use crate::kallsyms::{KallsymsError, Symbols};
use crate::payload::{self, PayloadError};
use crate::vmlinux::{Vmlinux, VmlinuxError};

/// The longest banner looked for, in bytes; the kernel's own limit is below.
const BANNER_LIMIT: usize = 1024;

/// Symbols and types of one kernel build.
#[derive(Debug)]
pub struct KernelProfile {
    symbols: Symbols,
    types: Btf,
    banner: String,
    text: u64,
}

/// Why no profile could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file is no bzImage.
    #[error(transparent)]
    BzImage(#[from] BzImageError),
    /// The kernel in it cannot be decompressed.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The kernel is no usable ELF file.
    #[error(transparent)]
    Vmlinux(#[from] VmlinuxError),
    /// Its symbol table cannot be decoded.
    #[error("the kernel's symbols: {0}")]
    Kallsyms(#[from] KallsymsError),
    /// Its type information cannot be parsed.
    #[error("the kernel's types: {0}")]
    Btf(#[from] BtfError),
    /// `linux_banner` is missing, outside `.rodata`, or no text.
    #[error("the kernel has no readable linux_banner")]
    NoBanner,
}

impl KernelProfile {
    /// Makes the profile of the kernel in a boot image, the file that distributions call vmlinuz.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] where the image is damaged or the kernel was built without kallsyms or BTF.
    pub fn from_bzimage(image: &[u8]) -> Result<Self, ProfileError> {
        let vmlinux = payload::decompress(bzimage::payload(image)?)?;
        Self::from_vmlinux(&vmlinux)
    }

    /// Makes the profile of an uncompressed kernel, an ELF file.
    ///
    /// # Errors
    ///
    /// As [`KernelProfile::from_bzimage`].
    pub fn from_vmlinux(file: &[u8]) -> Result<Self, ProfileError> {
        let vmlinux = Vmlinux::parse(file)?;
        let symbols = Symbols::decode(vmlinux.rodata, vmlinux.rodata_address, vmlinux.text)?;
        let types = Btf::parse(vmlinux.btf)?;
        let banner = banner(&vmlinux, &symbols).ok_or(ProfileError::NoBanner)?;
        Ok(Self {
            symbols,
            types,
            banner,
            text: vmlinux.text,
        })
    }

    /// `linux_banner`: `Linux version …` with its final newline. It differs between any two builds.
    #[must_use]
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// The link address of `_text`, where the kernel's image starts.
    #[must_use]
    pub const fn text(&self) -> u64 {
        self.text
    }

    /// The link address of a symbol, before relocation by KASLR; an offset into the per-CPU area where that is
    /// what the kernel's own table says. `None` where it is unknown, or stands for several addresses.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<u64> {
        self.symbols.address(name)
    }

    /// All symbols, in the order of /proc/kallsyms.
    #[must_use]
    pub const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// All types.
    #[must_use]
    pub const fn types(&self) -> &Btf {
        &self.types
    }

    /// Where a member stands in a struct or union, in bytes. `path` may lead through nested ones; anonymous ones
    /// are looked through as in C. `None` for an unknown name, and for a bit field.
    #[must_use]
    pub fn offset(&self, of: &str, path: &[&str]) -> Option<u64> {
        let field = self.field(of, path)?;
        field.bits.is_none().then_some(field.offset)
    }

    /// As [`KernelProfile::offset`], with the member's size, and for bit fields too.
    #[must_use]
    pub fn field(&self, of: &str, path: &[&str]) -> Option<Field> {
        self.types.field(of, path)
    }

    /// The size of a struct, union, enum, integer or typedef, in bytes.
    #[must_use]
    pub fn size_of(&self, name: &str) -> Option<u64> {
        self.types.size_of(name)
    }
}

fn banner(vmlinux: &Vmlinux<'_>, symbols: &Symbols) -> Option<String> {
    let address = symbols.address("linux_banner")?;
    let start = usize::try_from(address.checked_sub(vmlinux.rodata_address)?).ok()?;
    let bytes = vmlinux.rodata.get(start..)?;
    let length = bytes
        .iter()
        .take(BANNER_LIMIT)
        .position(|&byte| byte == 0)?;
    let banner = str::from_utf8(bytes.get(..length)?).ok()?;
    banner
        .starts_with("Linux version ")
        .then(|| banner.to_owned())
}
