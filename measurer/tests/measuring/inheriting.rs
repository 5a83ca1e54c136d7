//! Descriptors that a child has under numbers that are told to it.
#![expect(unsafe_code, reason = "descriptors are passed between fork and exec")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::{FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_setfd};

/// Above all numbers that a child is to have.
const FREE: RawFd = 32;

/// Starts it with copies of descriptors under these numbers.
pub(crate) fn spawn_with(command: &mut Command, placed: &[(RawFd, BorrowedFd<'_>)]) -> Child {
    let copies: Vec<(RawFd, OwnedFd)> = placed
        .iter()
        .map(|(at, descriptor)| (*at, fcntl_dupfd_cloexec(descriptor, FREE).unwrap()))
        .collect();
    let place = move || {
        for (at, copy) in &copies {
            // SAFETY: the number is this child's to choose, which is about to exec; nobody closes it before.
            let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(*at) });
            dup2(copy, &mut target)?;
        }
        Ok(())
    };
    // SAFETY: it makes system calls only.
    unsafe { command.pre_exec(place) };
    command.spawn().unwrap()
}

/// Starts it with descriptors under the numbers that they have here.
pub(crate) fn spawn_keeping(command: &mut Command, kept: &[BorrowedFd<'_>]) -> Child {
    let numbers: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    let keep = move || {
        for number in &numbers {
            // SAFETY: the caller holds it until this has run.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
            fcntl_setfd(descriptor.as_fd(), FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: it makes system calls only.
    unsafe { command.pre_exec(keep) };
    command.spawn().unwrap()
}
