//! The first process of another test guest: executes code that is in no mapping any more. Compiled by the test, statically,
//! with nothing but the standard library.
//!
//! A large executable mapping, whose last page holds a function, is unmapped by a thread that hardly ever runs
//! (SCHED_IDLE), while another one calls that function all the time: the kernel takes the mapping off its list first
//! and works through its pages afterwards.

mod system;

use std::ffi::{c_int, c_void};
use std::fs;
use std::thread;

use system::{EXEC, PAGE, READ, WRITE, make_own_code_present, map, mount_at, mprotect};

const SIZE: usize = 512 << 20;
const PRIVATE_ANONYMOUS_NORESERVE: c_int = 0x4022;
const POPULATE_READ: c_int = 22;
const SCHED_IDLE: c_int = 5;
const SIGSEGV: c_int = 11;

unsafe extern "C" {
    fn madvise(at: *mut c_void, size: usize, advice: c_int) -> c_int;
    fn munmap(at: *mut c_void, size: usize) -> c_int;
    fn sched_setscheduler(thread: c_int, policy: c_int, parameters: *const c_int) -> c_int;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
}

fn main() {
    mount_at(c"proc", c"/proc", c"proc", 0);
    // Before the region is there, which is present as it is.
    make_own_code_present();
    let region = region();
    // SAFETY: the handler never returns.
    unsafe { signal(SIGSEGV, gone) };
    println!("PID {}", std::process::id());
    println!("READY");
    thread::spawn(move || unmap(region));
    call(region);
}

/// `mov eax, 42; ret` in the last page of a mapping that is all present.
fn region() -> usize {
    const FUNCTION: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];
    let at = map(SIZE, READ | WRITE, PRIVATE_ANONYMOUS_NORESERVE, -1, 0);
    // SAFETY: the mapping just made, which nothing else refers to.
    unsafe {
        let last = at.byte_add(SIZE - PAGE).cast::<[u8; 6]>();
        last.write(FUNCTION);
        assert_eq!(mprotect(at, SIZE, READ | EXEC), 0);
        assert_eq!(madvise(at, SIZE, POPULATE_READ), 0);
    }
    at as usize
}

fn unmap(region: usize) {
    // SAFETY: nothing refers to the mapping but the function that is called until it is gone.
    unsafe {
        assert_eq!(sched_setscheduler(0, SCHED_IDLE, &0), 0);
        munmap(region as *mut c_void, SIZE);
    }
}

/// Calls the function for ever, and says so whenever the kernel's list does not hold it.
fn call(region: usize) -> ! {
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
