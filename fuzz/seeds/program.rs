//! The smallest program and the smallest library user.

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;
const STRINGS: &[u8] = b"\0libx.so.1\0$ORIGIN/../lib\0";
const INTERPRETER: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";

/// An ELF file (System V ABI, chapters 4 and 5) of one segment of code; if `dynamic`, with an interpreter and a
/// library.
pub(crate) fn program(dynamic: bool) -> Vec<u8> {
    let headers: u64 = if dynamic { 3 } else { 1 };
    let strings_at = 64 + 56 * headers;
    let interpreter_at = strings_at + STRINGS.len() as u64;
    let dynamic_at = (interpreter_at + INTERPRETER.len() as u64).next_multiple_of(8);
    // DT_NEEDED, DT_RUNPATH, DT_STRTAB, DT_STRSZ, DT_NULL.
    let entries = words(&[
        1,
        1,
        29,
        11,
        5,
        BASE + strings_at,
        10,
        STRINGS.len() as u64,
        0,
        0,
    ]);
    let size = dynamic_at + entries.len() as u64;

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    file.extend(words(&[BASE, 64, 0]));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0]);
    file.extend(u16::try_from(headers).unwrap().to_le_bytes());
    file.extend([0; 6]);
    // PT_LOAD (readable, executable), PT_INTERP, PT_DYNAMIC.
    let interpreter = INTERPRETER.len() as u64;
    let dynamics = entries.len() as u64;
    for (kind, at, size) in [
        (1, 0, size),
        (3, interpreter_at, interpreter),
        (2, dynamic_at, dynamics),
    ] {
        if kind == 1 || dynamic {
            file.extend([kind, 0, 0, 0, if kind == 1 { 5 } else { 4 }, 0, 0, 0]);
            file.extend(words(&[at, BASE + at, BASE + at, size, size, 8]));
        }
    }
    file.extend(STRINGS);
    file.extend(INTERPRETER);
    file.resize(usize::try_from(dynamic_at).unwrap(), 0);
    file.extend(entries);
    file
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
