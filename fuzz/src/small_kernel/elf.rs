//! The ELF file around read-only data and types (System V ABI, chapter 4).

use super::{RODATA, TEXT};

const NAMES: &[u8] = b"\0.rodata\0.BTF\0.shstrtab\0";
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// One loaded segment, and the sections `.rodata`, `.BTF` and that of their names.
pub(super) fn file(rodata: &[u8], types: &[u8]) -> Vec<u8> {
    let mut contents = Vec::new();
    let mut sections = vec![0; 64];
    for (name, address, bytes) in [(1, RODATA, rodata), (9, 0, types), (14, 0, NAMES)] {
        let at = HEADER + PROGRAM_HEADER + contents.len();
        // Name and type (PROGBITS); flags, address, offset, size; no link; alignment, no entries.
        sections.extend([name, 0, 0, 0, 1, 0, 0, 0]);
        sections.extend(words([2, address, at as u64, bytes.len() as u64]));
        sections.extend(words([0, 1, 0]));
        contents.extend(bytes);
    }
    contents.resize(contents.len().next_multiple_of(8), 0);
    let sections_at = HEADER + PROGRAM_HEADER + contents.len();

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC for EM_X86_64; entry, program headers, section headers; sizes and counts of headers.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend(words([0x100_0000, HEADER as u64, sections_at as u64]));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 4, 0, 3, 0]);
    // PT_LOAD, readable and executable: offset, addresses, sizes, alignment.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    file.extend(words([0, TEXT, 0x100_0000, 0, 0x20_0000, 0x20_0000]));
    file.extend(contents);
    file.extend(sections);
    file
}

fn words<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
