//! The uncompressed kernel: an ELF file, of which the addresses, read-only data and type information matter.

use object::elf::{FileHeader64, PT_LOAD, SHT_NOBITS};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, elf};

/// The link address of physical address 0 in the kernel's text mapping: `__START_KERNEL_map` of
/// arch/x86/include/asm/page_64_types.h.
pub const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// The parts of a kernel that its profile is made from, borrowed from the file.
#[derive(Clone, Copy, Debug)]
pub struct Vmlinux<'f> {
    /// Where the kernel's image starts: the link address of `_text`.
    pub text: u64,
    /// The bytes of `.rodata`: `linux_banner` and the kernel's own symbol table are there.
    pub rodata: &'f [u8],
    /// The link address of `rodata`.
    pub rodata_address: u64,
    /// The bytes of `.BTF`.
    pub btf: &'f [u8],
}

/// Why a file is no usable kernel.
#[derive(Debug, thiserror::Error)]
pub enum VmlinuxError {
    /// The file is no 64-bit little-endian ELF file for x86-64, or damaged.
    #[error("the decompressed kernel is no intact x86-64 ELF file: {0}")]
    Elf(#[from] object::read::Error),
    /// The file is for another machine.
    #[error("the kernel is built for ELF machine {0}, not for x86-64 (62)")]
    Machine(u16),
    /// Nothing is loaded at the kernel's addresses.
    #[error("the ELF file has no segment at the addresses of a kernel")]
    NoText,
    /// A section lacks or is empty.
    #[error(
        "the kernel has no section {0}; it needs CONFIG_KALLSYMS=y and CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoSection(&'static str),
}

impl<'f> Vmlinux<'f> {
    /// Finds the parts of the ELF `file`; what follows the ELF file proper (the build appends relocations) is
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`VmlinuxError`] for another kind of file or one without the parts needed.
    pub fn parse(file: &'f [u8]) -> Result<Self, VmlinuxError> {
        let header = FileHeader64::<LittleEndian>::parse(file)?;
        let endian = header.endian()?;
        let machine = header.e_machine(endian);
        if machine != elf::EM_X86_64 {
            return Err(VmlinuxError::Machine(machine.0));
        }
        let text = header
            .program_headers(endian, file)?
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .map(|segment| segment.p_vaddr(endian))
            .filter(|&address| address >= START_KERNEL_MAP)
            .min()
            .ok_or(VmlinuxError::NoText)?;
        let sections = header.sections(endian, file)?;
        let section = |name: &'static str| {
            let (_, section) = sections
                .section_by_name(endian, name.as_bytes())
                .ok_or(VmlinuxError::NoSection(name))?;
            let bytes = match section.sh_type(endian) {
                SHT_NOBITS => &[],
                _ => section.data(endian, file)?,
            };
            match bytes {
                [] => Err(VmlinuxError::NoSection(name)),
                _ => Ok((bytes, section.sh_addr(endian))),
            }
        };
        let (rodata, rodata_address) = section(".rodata")?;
        let (btf, _) = section(".BTF")?;
        Ok(Self {
            text,
            rodata,
            rodata_address,
            btf,
        })
    }
}
