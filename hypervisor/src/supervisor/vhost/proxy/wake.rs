//! Signalling an eventfd that QEMU handed over.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Adds one to an eventfd. QEMU chose the descriptor: anything else than an eventfd is left alone, and so
/// is one whose counter is full, which would make the write wait.
pub(super) fn wake(descriptor: &OwnedFd) {
    let name = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
    if !name.is_ok_and(|name| name.as_os_str() == "anon_inode:[eventfd]") {
        return;
    }
    let mut writable = [PollFd::new(descriptor, PollFlags::OUT)];
    if poll(
        &mut writable,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    )
    .is_ok_and(|ready| ready == 1)
    {
        // A counter that is not zero wakes whoever waits: failure needs no cure.
        let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
    }
}
