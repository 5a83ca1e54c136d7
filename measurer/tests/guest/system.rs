//! What the first processes of the test guests ask of their kernel alike.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::ptr;

pub(crate) const PAGE: usize = 4096;
pub(crate) const READ: c_int = 1;
pub(crate) const WRITE: c_int = 2;
pub(crate) const EXEC: c_int = 4;

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
    pub(crate) fn mprotect(at: *mut c_void, size: usize, protection: c_int) -> c_int;
}

pub(crate) fn mount_at(from: &CStr, at: &CStr, kind: &CStr, flags: u64) {
    // SAFETY: the strings end in NUL; no data is passed.
    let failed = unsafe {
        mount(
            from.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            ptr::null(),
        )
    };
    assert_eq!(
        failed,
        0,
        "mount {at:?}: {}",
        std::io::Error::last_os_error()
    );
}

pub(crate) fn map(
    size: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: c_long,
) -> *mut c_void {
    // SAFETY: at an address of the kernel's choice.
    let at = unsafe { mmap(ptr::null_mut(), size, protection, flags, file, offset) };
    assert_ne!(at as isize, -1, "mmap: {}", std::io::Error::last_os_error());
    at
}

/// Reads every page of every executable mapping through /proc/self/mem.
pub(crate) fn make_own_code_present() {
    let mut memory = fs::File::open("/proc/self/mem").unwrap();
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut fields = line.split([' ', '-']);
        let [start, end] =
            [(); 2].map(|()| u64::from_str_radix(fields.next().unwrap(), 16).unwrap());
        if !line.split(' ').nth(1).unwrap().contains('x') || line.contains("[vsyscall]") {
            continue;
        }
        for page in (start..end).step_by(PAGE) {
            memory.seek(SeekFrom::Start(page)).unwrap();
            memory.read_exact(&mut [0]).unwrap();
        }
    }
}
