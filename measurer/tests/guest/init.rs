//! The first process of the test guest: maps files in every way that a report tells apart, prints its
//! mappings, and stays. Compiled by the test, statically, with nothing but the standard library.

mod system;

use std::ffi::{c_char, c_int, c_long, c_void};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

use system::{EXEC, PAGE, READ, WRITE, make_own_code_present, map, mount_at, mprotect};

const SHARED: c_int = 1;
const PRIVATE: c_int = 2;
const ANONYMOUS: c_int = 0x20;
const POPULATE: c_int = 0x8000;
const HUGETLB: c_int = 0x40000;
const HUGE_PAGE: usize = 2 << 20;

unsafe extern "C" {
    fn memfd_create(name: *const c_char, flags: u32) -> c_int;
}

fn main() {
    mount_at(c"proc", c"/proc", c"proc", 0);
    fs::create_dir_all("/usr/sbin").unwrap();
    fs::create_dir_all("/mounted").unwrap();
    fs::create_dir_all("/bound").unwrap();
    mount_at(c"tmpfs", c"/mounted", c"tmpfs", 0);
    fs::create_dir_all("/mounted/lib").unwrap();
    const BIND: u64 = 4096;
    mount_at(c"/mounted/lib", c"/bound", c"none", BIND);

    let text = map_file("/usr/sbin/program", EXEC | READ, PRIVATE, 3);
    map_file("/usr/sbin/deleted", EXEC | READ, PRIVATE, 0);
    fs::remove_file("/usr/sbin/deleted").unwrap();
    // What is replaced under the same name is another file.
    map_file("/usr/sbin/replaced", EXEC | READ, PRIVATE, 0);
    fs::copy("/init", "/usr/sbin/new").unwrap();
    fs::rename("/usr/sbin/new", "/usr/sbin/replaced").unwrap();
    map_file("/mounted/lib/library", EXEC | READ, SHARED, 1);
    map_file("/bound/bound", EXEC | READ | WRITE, PRIVATE, 0);
    map_memfd();
    map(
        4 * PAGE,
        READ | WRITE | EXEC,
        PRIVATE | ANONYMOUS | POPULATE,
        -1,
        0,
    );
    many_small_ones();

    let symbols = fs::read("/proc/kallsyms").unwrap();
    let pages = symbols.len().div_ceil(HUGE_PAGE);
    fs::write("/proc/sys/vm/nr_hugepages", (1 + pages).to_string()).unwrap();
    let huge = map_huge(1);
    // SAFETY: 2 MiB just mapped writable.
    unsafe { ptr::write_bytes(huge.cast::<u8>(), 0x5a, HUGE_PAGE) };
    // Mapped, and never touched.
    let absent = map(8 * PAGE, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0);

    make_own_code_present();
    show(&symbols, pages);
    print!("VERSION {}", fs::read_to_string("/proc/version").unwrap());
    println!("TEXT {:x} {:x}", text as usize, physical(text));
    println!("HUGE {:x} {:x}", huge as usize, physical(huge));
    println!("ABSENT {:x}", absent as usize);
    println!("PID {}", std::process::id());
    print!("{}", fs::read_to_string("/proc/self/maps").unwrap());
    println!("READY");
    loop {
        std::thread::park();
    }
}

fn map_huge(pages: usize) -> *mut c_void {
    let flags = PRIVATE | ANONYMOUS | POPULATE | HUGETLB;
    map(pages * HUGE_PAGE, READ | WRITE, flags, -1, 0)
}

/// Puts the kernel's symbols into huge pages, which nothing moves, and prints where those are: the test reads
/// them from RAM, since over the console they would take minutes.
fn show(symbols: &[u8], pages: usize) {
    let at = map_huge(pages);
    // SAFETY: just mapped writable, and as large.
    unsafe { ptr::copy_nonoverlapping(symbols.as_ptr(), at.cast(), symbols.len()) };
    print!("SYMBOLS {:x}", symbols.len());
    for page in 0..pages {
        print!(" {:x}", physical(at.wrapping_byte_add(page * HUGE_PAGE)));
    }
    println!();
}

/// Maps 4 pages of a copy of this program, present.
fn map_file(path: &str, protection: c_int, flags: c_int, first_page: usize) -> *mut c_void {
    fs::copy("/init", path).unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let offset = (first_page * PAGE) as c_long;
    map(
        4 * PAGE,
        protection,
        flags | POPULATE,
        file.as_raw_fd(),
        offset,
    )
}

fn map_memfd() {
    // SAFETY: the name ends in NUL.
    let memfd = unsafe { memfd_create(c"usr/sbin/program".as_ptr(), 0) };
    assert!(memfd >= 0);
    // SAFETY: just opened, owned by nobody else.
    let file = unsafe { fs::File::from_raw_fd(memfd) };
    file.set_len(PAGE as u64).unwrap();
    map(PAGE, READ | EXEC, PRIVATE | POPULATE, memfd, 0);
}

/// Every other page of a large mapping is read-only, so that the tree of mappings grows several levels; every
/// 50th is executable.
fn many_small_ones() {
    const COUNT: usize = 2000;
    let base = map(
        COUNT * PAGE,
        READ | WRITE,
        PRIVATE | ANONYMOUS | POPULATE,
        -1,
        0,
    );
    for page in (0..COUNT).step_by(2) {
        let protection = if page % 50 == 0 { READ | EXEC } else { READ };
        // SAFETY: pages of the mapping just made, which nothing refers to.
        unsafe { mprotect(base.byte_add(page * PAGE), PAGE, protection) };
    }
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
