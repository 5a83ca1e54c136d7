//! Page tables, and a kernel that runs under them.

use bartizan_fuzz::small_kernel::BANNER;

use crate::Seed;

/// Present, writable, user.
const TABLE: u64 = 7;
/// The same for a page of 2 MiB or 1 GiB.
const LARGE: u64 = 0x87;

pub(crate) fn seeds() -> Vec<Seed> {
    // One table that is its own next level, whichever that is.
    let own = ram(&[(0, TABLE), (8, TABLE), (16, LARGE)], 64);
    let whole = ram(&[(0, TABLE), (8, TABLE)], 4096);
    vec![
        ("page_tables", "four", walk(0, 0x10, &own)),
        ("page_tables", "five", walk(1, 0x10, &own)),
        // Entry 2 on the second level, 1 on the one above.
        ("page_tables", "large", walk(0, 1 << 30 | 2 << 21, &own)),
        ("page_tables", "two-pages", walk(0, 0xff0, &whole)),
        ("kernel_location", "running", running()),
    ]
}

fn walk(selector: u8, at: u64, ram: &[u8]) -> Vec<u8> {
    [&[selector], at.to_le_bytes().as_slice(), ram].concat()
}

/// The small kernel at physical address 0, not moved, in the state SYSTEM_RUNNING.
fn running() -> Vec<u8> {
    let phys_base = 0x100_0000_u64.wrapping_neg();
    // The entries for 0xffffffff81000000, in one table that is its own next level.
    let [top, upper, lower] = [511, 510, 8].map(|index| 0x1000 + 8 * index);
    let words = [
        (0x700, phys_base),
        (0x708, 3),
        (top, 0x1000 | TABLE),
        (upper, 0x1000 | TABLE),
        (lower, LARGE),
    ];
    let mut ram = ram(&words, 0x2000);
    ram[0x800..][..BANNER.len()].copy_from_slice(BANNER.as_bytes());
    ram
}

fn ram(words: &[(usize, u64)], size: usize) -> Vec<u8> {
    let mut ram = vec![0; size];
    for (at, word) in words {
        ram[*at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    ram
}
