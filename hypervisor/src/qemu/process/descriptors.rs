//! Which descriptors a child inherits: those named, under the numbers that it expects.
#![expect(
    unsafe_code,
    reason = "placing a descriptor at a fixed number has no safe interface"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use rustix::io::FdFlags;

/// Descriptor numbers up to this one may be promised to a child.
pub(super) const LAST_FIXED: RawFd = 8;

/// Keeps the numbers 3 to [`LAST_FIXED`] taken in this process for ever, so that neither a descriptor to
/// hand on nor the standard library's own (by which it learns of a failed exec) has one of them when a
/// child puts its descriptors there.
pub(super) fn reserve_fixed_numbers() -> io::Result<()> {
    static RESERVED: OnceLock<Vec<File>> = OnceLock::new();
    if RESERVED.get().is_some() {
        return Ok(());
    }
    let mut kept = Vec::new();
    loop {
        let file = File::open("/dev/null")?;
        if file.as_raw_fd() > LAST_FIXED {
            break;
        }
        kept.push(file);
    }
    RESERVED.get_or_init(|| kept);
    Ok(())
}

/// Marks every descriptor above standard error close-on-exec: whatever this process was started with by
/// accident is not passed on. To be called before there are other threads.
pub fn seal_inherited() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: the number is used in this call only; one that is closed by now (the folder's own)
        // gives EBADF.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC) {
            Ok(()) | Err(rustix::io::Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A measured file that the launcher handed to this process under this number.
pub fn inherited(number: RawFd) -> io::Result<BorrowedFd<'static>> {
    // It is there, and none of this process's own, which begin at 0 and are closed by their owners.
    std::fs::read_link(format!("/proc/self/fd/{number}"))?
        .starts_with("/memfd:measured")
        .then_some(())
        .ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: the descriptor was open when this process began, nothing in it owns the number, so that nothing closes it.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Lets the next exec keep `descriptor` under its own number. Async-signal-safe.
pub(super) fn keep(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: the caller holds the descriptor open for as long as this borrow.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?)
}

/// Puts a copy of `descriptor` at number `at`, to be kept by the next exec. Async-signal-safe.
pub(super) fn place(descriptor: RawFd, at: RawFd) -> io::Result<()> {
    // SAFETY: the caller holds the descriptor open for as long as this borrow.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // SAFETY: `dup2` replaces whatever has that number in this process, a child that is about to exec
    // and in which `reserve_fixed_numbers` took it; the owner is forgotten below, not closed.
    let mut target = unsafe { OwnedFd::from_raw_fd(at) };
    let placed = rustix::io::dup2(descriptor, &mut target);
    std::mem::forget(target);
    Ok(placed?)
}
