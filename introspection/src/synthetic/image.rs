//! The ELF file of the kernel, and a boot image around it.

use super::{BANNER, BtfBuilder, Layout, RODATA, TEXT, landmark, symbol_table};

const SECTION_NAMES: &[u8] = b"\0.rodata\0.BTF\0.shstrtab\0";

/// A kernel with the symbols that tests need, some thousand others, and few types.
pub(crate) fn vmlinux() -> Vec<u8> {
    let mut symbols: Vec<_> = (0..2000_u64)
        .map(|index| (format!("t__x64_sys_number{index}"), TEXT + 16 * index))
        .collect();
    symbols.push(("T_text".into(), TEXT));
    symbols.push(("Alittle".into(), 0x1000));
    symbols.push(("Rlinux_banner".into(), RODATA));
    symbols.push(("Dphys_base".into(), TEXT + landmark::PHYS_BASE));
    symbols.push(("Dinit_top_pgt".into(), TEXT + landmark::TOP_TABLE));
    symbols.push(("Dsystem_state".into(), TEXT + landmark::SYSTEM_STATE));
    let mut rodata = BANNER.as_bytes().to_vec();
    rodata.resize(512, 0);
    rodata.extend(symbol_table(&symbols, Layout::Behind, RODATA + 512));
    let mut types = BtfBuilder::default();
    let states = [
        ("SYSTEM_BOOTING", 0),
        ("SYSTEM_RUNNING", 3),
        ("SYSTEM_RESTART", 6),
    ];
    types.enumeration("system_states", &states);
    elf(&rodata, &types.section())
}

/// An uncompressed boot image of `kernel`, as boot protocol 2.08 has it.
pub(crate) fn bzimage(kernel: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 2 * 512];
    image[0x1f1] = 1;
    image[0x202..0x208].copy_from_slice(b"HdrS\x08\x02");
    image[0x248..0x24c].copy_from_slice(&32_u32.to_le_bytes());
    let length = u32::try_from(kernel.len()).unwrap();
    image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
    image.extend([0xcc; 32]);
    image.extend(kernel);
    image.extend([0xcc; 32]);
    image
}

fn elf(rodata: &[u8], btf: &[u8]) -> Vec<u8> {
    let rodata_at = 64 + 56;
    let btf_at = rodata_at + rodata.len();
    let names_at = btf_at + btf.len();
    let sections_at = (names_at + SECTION_NAMES.len()).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    words(&mut file, &[0x100_0000, 64, sections_at as u64]);
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 4, 0, 3, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    words(&mut file, &[0, TEXT, 0x100_0000, 0, 0x20_0000, 0x20_0000]);
    file.extend(rodata);
    file.extend(btf);
    file.extend(SECTION_NAMES);
    file.resize(sections_at, 0);
    file.extend([0; 64]);
    section(&mut file, 1, RODATA, rodata_at, rodata.len());
    section(&mut file, 9, 0, btf_at, btf.len());
    section(&mut file, 14, 0, names_at, SECTION_NAMES.len());
    file
}

fn section(file: &mut Vec<u8>, name: u8, address: u64, at: usize, size: usize) {
    file.extend([name, 0, 0, 0, 1, 0, 0, 0]);
    words(file, &[2, address, at as u64, size as u64, 0, 1, 0]);
}

fn words(file: &mut Vec<u8>, words: &[u64]) {
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}
