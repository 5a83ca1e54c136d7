//! The first process of another test guest: executes code that is in no mapping any more. Compiled by the test, statically,
//! with nothing but the standard library.
//!
//! A large executable mapping, whose last page holds a function, is unmapped by a thread that hardly ever runs
//! (SCHED_IDLE), while another one calls that function all the time: the kernel takes the mapping off its list first
//! and works through its pages afterwards.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const PAGE: usize = 4096;
const SIZE: usize = 512 << 20;
const READ: c_int = 1;
const WRITE: c_int = 2;
const EXEC: c_int = 4;
const PRIVATE_ANONYMOUS_NORESERVE: c_int = 0x4022;
const POPULATE_READ: c_int = 22;
const SCHED_IDLE: c_int = 5;
const SIGSEGV: c_int = 11;

unsafe extern "C" {
    fn mount(
        from: *const c_char,
        at: *const c_char,
        kind: *const c_char,
        flags: u64,
        data: *const c_void,
    ) -> c_int;
    fn mmap(
        at: *mut c_void,
        size: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn mprotect(at: *mut c_void, size: usize, protection: c_int) -> c_int;
    fn madvise(at: *mut c_void, size: usize, advice: c_int) -> c_int;
    fn munmap(at: *mut c_void, size: usize) -> c_int;
    fn sched_setscheduler(thread: c_int, policy: c_int, parameters: *const c_int) -> c_int;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
}

static REGION: AtomicUsize = AtomicUsize::new(0);

fn main() {
    mount_proc(c"proc", c"/proc");
    let region = region();
    REGION.store(region, Ordering::SeqCst);
    // SAFETY: the handler never returns.
    unsafe { signal(SIGSEGV, gone) };
    make_own_code_present();
    println!("PID {}", std::process::id());
    println!("READY");
    thread::spawn(unmap);
    call();
}

/// `mov eax, 42; ret` in the last page of a mapping that is all present.
fn region() -> usize {
    const FUNCTION: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];
    // SAFETY: a mapping of our own, at an address of the kernel's choice.
    unsafe {
        let at = mmap(
            std::ptr::null_mut(),
            SIZE,
            READ | WRITE,
            PRIVATE_ANONYMOUS_NORESERVE,
            -1,
            0,
        );
        assert_ne!(at as isize, -1);
        let last = at.byte_add(SIZE - PAGE).cast::<[u8; 6]>();
        last.write(FUNCTION);
        assert_eq!(mprotect(at, SIZE, READ | EXEC), 0);
        assert_eq!(madvise(at, SIZE, POPULATE_READ), 0);
        at as usize
    }
}

fn unmap() {
    // SAFETY: nothing refers to the mapping but the function that is called until it is gone.
    unsafe {
        assert_eq!(sched_setscheduler(0, SCHED_IDLE, &0), 0);
        munmap(REGION.load(Ordering::SeqCst) as *mut c_void, SIZE);
    }
}

/// Calls the function for ever, and says so whenever the kernel's list does not hold it.
fn call() -> ! {
    let region = REGION.load(Ordering::SeqCst);
    let listed = format!("{region:x}-");
    // SAFETY: code of that type was written there; it is called until a signal ends it.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(region + SIZE - PAGE) };
    loop {
        let is_listed = fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .any(|line| line.starts_with(&listed));
        for _ in 0..100_000 {
            assert_eq!(function(), 42);
        }
        if !is_listed {
            println!("HIDDEN {:x}", region + SIZE - PAGE);
        }
    }
}

/// The function is no more.
extern "C" fn gone(_: c_int) {
    println!("GONE");
    loop {
        thread::park();
    }
}

fn mount_proc(kind: &CStr, at: &CStr) {
    // SAFETY: the strings end in NUL; no data is passed.
    let failed = unsafe { mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    assert_eq!(failed, 0);
}

/// Reads every page of every executable mapping through /proc/self/mem.
fn make_own_code_present() {
    let mut memory = fs::File::open("/proc/self/mem").unwrap();
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut fields = line.split([' ', '-']);
        let [start, end] =
            [(); 2].map(|()| u64::from_str_radix(fields.next().unwrap(), 16).unwrap());
        let is_region = start == REGION.load(Ordering::SeqCst) as u64;
        if !line.split(' ').nth(1).unwrap().contains('x')
            || line.contains("[vsyscall]")
            || is_region
        {
            continue;
        }
        for page in (start..end).step_by(PAGE) {
            memory.seek(SeekFrom::Start(page)).unwrap();
            memory.read_exact(&mut [0]).unwrap();
        }
    }
}
