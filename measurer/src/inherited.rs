//! The descriptors that the supervisor passes.
#![expect(unsafe_code, reason = "inherited descriptors are bare numbers")]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use bartizan_measurer::Inputs;

const CONTROL: RawFd = 3;
const RAM: RawFd = 4;
const KERNEL: RawFd = 5;

/// Takes over these descriptors and closes all above them; called once, before anything else opens one.
///
/// # Errors
/// Whatever fcntl(2) says of one that is not there.
pub(crate) fn inputs(kernel: bool) -> io::Result<Inputs> {
    close_others(if kernel { KERNEL } else { RAM });
    let control = take(CONTROL)?;
    let ram = take(RAM)?;
    let kernel = if kernel {
        Some(File::from(take(KERNEL)?))
    } else {
        None
    };
    Ok(Inputs {
        control: UnixStream::from(control),
        ram,
        kernel,
    })
}

/// Closes whatever else was left open by whoever started the supervisor.
fn close_others(last: RawFd) {
    let first = last.unsigned_abs() + 1;
    // SAFETY: nothing in this process has opened a descriptor yet, so that none of them has an owner here.
    // Its one failure, a kernel before 5.9, changes nothing.
    unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
}

fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for one fcntl(F_GETFD), which fails cleanly where nothing is open.
    let probe = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(probe)?;
    // SAFETY: it is open, as just seen, and belongs to nobody else: each number is taken once, at the
    // start of a process that has opened nothing itself.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
