//! The first process of a test guest that writes all the time: counters in lockstep to two distant pages, and anything to the pages
//! in between. Compiled by the test, statically, with nothing but the standard library.

mod system;

use std::ffi::{c_int, c_void};
use std::fs;
use std::io::{Read, Seek, SeekFrom};

use system::{PAGE, READ, WRITE, make_own_code_present, map, mount_at};

const PRIVATE_ANONYMOUS_POPULATE: c_int = 0x8022;
const HUGETLB: c_int = 0x40000;
const HUGE_PAGE: usize = 2 << 20;
/// So many huge pages, each of which stands where it stands.
const COUNT: usize = 8;

fn main() {
    mount_at(c"proc", c"/proc", c"proc", 0);
    fs::write("/proc/sys/vm/nr_hugepages", COUNT.to_string()).unwrap();
    let flags = PRIVATE_ANONYMOUS_POPULATE | HUGETLB;
    let at = map(COUNT * HUGE_PAGE, READ | WRITE, flags, -1, 0);
    make_own_code_present();
    print!("PAGES");
    for index in 0..COUNT {
        print!(" {:x}", physical(at.wrapping_byte_add(index * HUGE_PAGE)));
    }
    println!();
    println!("PID {}", std::process::id());
    println!("READY");
    write(at);
}

/// For ever.
fn write(at: *mut c_void) -> ! {
    let word = |offset: usize| at.wrapping_byte_add(offset).cast::<u64>();
    let (first, last) = (word(0), word(COUNT * HUGE_PAGE - PAGE));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for counter in 1_u64.. {
        // SAFETY: both are in the mapping, which nothing refers to.
        unsafe {
            first.write_volatile(counter);
            last.write_volatile(counter);
        }
        if counter % 16 == 0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let page = 1 + state as usize % (COUNT * HUGE_PAGE / PAGE - 2);
            // SAFETY: as above.
            unsafe { word(page * PAGE + 8).write_volatile(state) };
        }
    }
    unreachable!()
}

/// By /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst).
fn physical(at: *const c_void) -> u64 {
    let mut pagemap = fs::File::open("/proc/self/pagemap").unwrap();
    pagemap
        .seek(SeekFrom::Start(at as u64 / PAGE as u64 * 8))
        .unwrap();
    let mut entry = [0; 8];
    pagemap.read_exact(&mut entry).unwrap();
    (u64::from_le_bytes(entry) & ((1 << 55) - 1)) * PAGE as u64
}
