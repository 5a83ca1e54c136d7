//! What an ELF file of x86-64 says about its code and its libraries (System V ABI, chapters 4 and 5).

use object::LittleEndian;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

use bartizan_attestation::measurement::PAGE_SIZE;

/// Most dynamic entries that are looked at.
const MAX_DYNAMIC: usize = 4096;
/// Most libraries and search paths of one file.
const MAX_NAMES: usize = 512;
/// Longest name or path in bytes.
const MAX_NAME: usize = 4096;
/// The flag of `DT_FLAGS` for relocations in code.
const DF_TEXTREL: u64 = 4;

/// A file that is no program or library whose code can be foretold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Malformed.
    #[error("it is malformed: {0}")]
    Malformed(#[from] object::read::Error),
    /// Another machine, or neither executable nor shared object.
    #[error("it is no executable or shared object for x86-64")]
    Kind,
    /// Code and data in one writable segment.
    #[error("the segment at {file_offset:#x} is writable and executable")]
    WritableCode {
        /// Offset in the file.
        file_offset: u64,
    },
    /// Offset and address of a segment differ within the page: the kernel would refuse it.
    #[error("the segment at {file_offset:#x} is not aligned as its address is")]
    Alignment {
        /// Offset in the file.
        file_offset: u64,
    },
    /// Executable memory beyond the file's content.
    #[error("the segment at {file_offset:#x} is larger in memory than in the file")]
    CodeWithoutContent {
        /// Offset in the file.
        file_offset: u64,
    },
    /// Executable segments that share a page, or are out of order.
    #[error("the executable segments overlap or are out of order")]
    Overlap,
    /// The loader patches its code, so that pages in RAM differ from the file.
    #[error("it has relocations in its code (DT_TEXTREL); build it position-independent")]
    TextRelocations,
    /// A string table or name is out of bounds, too long, not UTF-8, or there are too many.
    #[error("its dynamic section is malformed")]
    Dynamic,
}

/// An executable segment in whole pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeSegment {
    /// Offset of its first page in the file, in bytes.
    pub file_offset: u64,
    /// How many pages of 4096 bytes.
    pub pages: u64,
    /// Where its first page wants to be mapped.
    address: u64,
}

/// What matters of an ELF file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Elf {
    /// Executable segments in the order of the file.
    pub code: Vec<CodeSegment>,
    /// Names of the libraries that it needs (`DT_NEEDED`).
    pub needed: Vec<String>,
    /// Path of its interpreter (`PT_INTERP`), the dynamic loader.
    pub interpreter: Option<String>,
    /// Directories to search first (`DT_RUNPATH`, `DT_RPATH`); may hold `$ORIGIN`.
    pub search: Vec<String>,
}

impl Elf {
    /// Reads an ELF file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let header = FileHeader64::<LittleEndian>::parse(bytes)?;
        let endian = header.endian()?;
        let kind = header.e_type(endian);
        if header.e_machine(endian) != elf::EM_X86_64 || !matches!(kind, elf::ET_EXEC | elf::ET_DYN)
        {
            return Err(ElfError::Kind);
        }
        let headers = header.program_headers(endian, bytes)?;
        let dynamic = Dynamic::read(headers, bytes)?;
        if dynamic.has_text_relocations() {
            return Err(ElfError::TextRelocations);
        }
        Ok(Self {
            code: code(headers, bytes)?,
            needed: dynamic.strings(&[elf::DT_NEEDED])?,
            interpreter: interpreter(headers, bytes)?,
            search: dynamic
                .strings(&[elf::DT_RPATH, elf::DT_RUNPATH])?
                .iter()
                .flat_map(|list| list.split(':').map(Into::into))
                .collect(),
        })
    }
}

type Headers<'d> = &'d [ProgramHeader64<LittleEndian>];

/// The executable segments, as whole pages; those that the kernel merges into one mapping are merged.
fn code(headers: Headers<'_>, bytes: &[u8]) -> Result<Vec<CodeSegment>, ElfError> {
    let mut code: Vec<CodeSegment> = Vec::new();
    for header in headers {
        let flags = header.p_flags(LittleEndian);
        if header.p_type(LittleEndian) != elf::PT_LOAD || !flags.contains(elf::PF_X) {
            continue;
        }
        let segment = code_segment(header, bytes)?;
        if flags.contains(elf::PF_W) {
            return Err(ElfError::WritableCode {
                file_offset: segment.file_offset,
            });
        }
        match code.last_mut() {
            Some(last) => {
                let size = last.pages * PAGE_SIZE;
                let next = (last.file_offset + size, last.address.wrapping_add(size));
                if next == (segment.file_offset, segment.address) {
                    last.pages += segment.pages;
                } else if segment.file_offset < next.0 {
                    return Err(ElfError::Overlap);
                } else {
                    code.push(segment);
                }
            }
            None => code.push(segment),
        }
    }
    Ok(code)
}

fn code_segment(
    header: &ProgramHeader64<LittleEndian>,
    bytes: &[u8],
) -> Result<CodeSegment, ElfError> {
    let file_offset = header.p_offset(LittleEndian);
    let (address, size) = (header.p_vaddr(LittleEndian), header.p_filesz(LittleEndian));
    header
        .data(LittleEndian, bytes)
        .map_err(|()| ElfError::CodeWithoutContent { file_offset })?;
    if size == 0 || header.p_memsz(LittleEndian) != size {
        return Err(ElfError::CodeWithoutContent { file_offset });
    }
    let within = file_offset % PAGE_SIZE;
    if address % PAGE_SIZE != within {
        return Err(ElfError::Alignment { file_offset });
    }
    // No overflow: offset and size lie within a file that is in memory.
    let pages = (within + size).div_ceil(PAGE_SIZE);
    Ok(CodeSegment {
        file_offset: file_offset - within,
        pages,
        address: address - within,
    })
}

fn interpreter(headers: Headers<'_>, bytes: &[u8]) -> Result<Option<String>, ElfError> {
    for header in headers {
        if let Some(path) = header.interpreter(LittleEndian, bytes)? {
            return name(path).map(Some);
        }
    }
    Ok(None)
}

/// The dynamic section with its string table.
struct Dynamic<'d> {
    entries: &'d [Dyn64<LittleEndian>],
    strings: &'d [u8],
}

impl<'d> Dynamic<'d> {
    fn read(headers: Headers<'d>, bytes: &'d [u8]) -> Result<Self, ElfError> {
        let mut entries: &[Dyn64<LittleEndian>] = &[];
        for header in headers {
            if let Some(found) = header.dynamic(LittleEndian, bytes)? {
                entries = found;
            }
        }
        let end = entries
            .iter()
            .position(|it| it.tag(LittleEndian) == elf::DT_NULL);
        let entries = entries
            .get(..end.unwrap_or(entries.len()))
            .unwrap_or_default();
        if entries.len() > MAX_DYNAMIC {
            return Err(ElfError::Dynamic);
        }
        let dynamic = Self {
            entries,
            strings: &[],
        };
        let (address, size) = (dynamic.value(elf::DT_STRTAB), dynamic.value(elf::DT_STRSZ));
        let strings = match (address, size) {
            (Some(address), Some(size)) => at_address(headers, bytes, address, size)?,
            _ => &[],
        };
        Ok(Self { strings, ..dynamic })
    }

    fn value(&self, tag: elf::DynamicTag) -> Option<u64> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.tag(LittleEndian) == tag)?;
        Some(entry.val(LittleEndian))
    }

    fn has_text_relocations(&self) -> bool {
        self.value(elf::DT_TEXTREL).is_some()
            || self
                .value(elf::DT_FLAGS)
                .is_some_and(|flags| flags & DF_TEXTREL != 0)
    }

    fn strings(&self, tags: &[elf::DynamicTag]) -> Result<Vec<String>, ElfError> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| tags.contains(&entry.tag(LittleEndian)));
        let names: Vec<_> = wanted
            .map(|entry| self.string(entry.val(LittleEndian)))
            .collect();
        if names.len() > MAX_NAMES {
            return Err(ElfError::Dynamic);
        }
        names.into_iter().collect()
    }

    fn string(&self, offset: u64) -> Result<String, ElfError> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.strings.get(offset..));
        let bytes = rest.and_then(|rest| rest.split(|byte| *byte == 0).next());
        name(bytes.ok_or(ElfError::Dynamic)?)
    }
}

/// The file's bytes that will stand at a virtual address.
fn at_address<'d>(
    headers: Headers<'d>,
    bytes: &'d [u8],
    address: u64,
    size: u64,
) -> Result<&'d [u8], ElfError> {
    headers
        .iter()
        .filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD)
        .find_map(|header| {
            header
                .data_range(LittleEndian, bytes, address, size)
                .ok()
                .flatten()
        })
        .ok_or(ElfError::Dynamic)
}

fn name(bytes: &[u8]) -> Result<String, ElfError> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
        .map(Into::into)
        .ok_or(ElfError::Dynamic)
}
