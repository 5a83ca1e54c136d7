//! The descriptors that the supervisor passes.
#![expect(unsafe_code, reason = "inherited descriptors are bare numbers")]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use bartizan_measurer::{Inputs, TrackingInputs};

const CONTROL: RawFd = 3;
const RAM: RawFd = 4;
const KERNEL: RawFd = 5;
const PAGE_MAP: RawFd = 6;
const LOG: RawFd = 7;
const USERFAULT: RawFd = 8;

/// Takes over these descriptors and closes all others above standard error; called once, before anything else opens one.
///
/// # Errors
/// Whatever fcntl(2) says of one that is not there.
pub(crate) fn inputs(kernel: bool, tracked: bool) -> io::Result<Inputs> {
    let mut passed = vec![CONTROL, RAM];
    passed.extend(kernel.then_some(KERNEL));
    passed.extend(
        tracked
            .then_some([PAGE_MAP, LOG, USERFAULT])
            .into_iter()
            .flatten(),
    );
    close_others(&passed);
    let control = take(CONTROL)?;
    let ram = take(RAM)?;
    let kernel = if kernel {
        Some(File::from(take(KERNEL)?))
    } else {
        None
    };
    let tracking = if tracked {
        Some(TrackingInputs {
            page_map: take(PAGE_MAP)?,
            log: take(LOG)?,
            userfault: take(USERFAULT)?,
        })
    } else {
        None
    };
    Ok(Inputs {
        control: UnixStream::from(control),
        ram,
        kernel,
        tracking,
    })
}

/// Closes whatever else was left open by whoever started the supervisor. `passed` is ascending.
fn close_others(passed: &[RawFd]) {
    let mut first = CONTROL;
    for number in passed {
        close(first, number - 1);
        first = number + 1;
    }
    close(first, RawFd::MAX);
}

fn close(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: nothing in this process has opened a descriptor yet, so that none of them has an owner here.
        // Its one failure, a kernel before 5.9, changes nothing.
        unsafe { libc::close_range(first.unsigned_abs(), last.unsigned_abs(), 0) };
    }
}

fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for one fcntl(F_GETFD), which fails cleanly where nothing is open.
    let probe = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(probe)?;
    // SAFETY: it is open, as just seen, and belongs to nobody else: each number is taken once, at the
    // start of a process that has opened nothing itself.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
