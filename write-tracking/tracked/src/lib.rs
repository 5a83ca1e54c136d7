//! Preloaded into QEMU: makes a userfaultfd of it and hands that over, before QEMU's `main` begins
//! (`bartizan-write-tracking`, module `handover`, has the other side).
//!
//! Where it is preloaded without being told anything it does nothing. Where something fails it sends nothing, and QEMU goes on:
//! its guest is measured by a longer pause then.
#![expect(
    unsafe_code,
    reason = "runs before main, with descriptors that are known by their numbers"
)]

use std::ffi::{CStr, c_int, c_ulong};
use std::mem;

use libc::{c_char, cmsghdr, iovec, msghdr};

/// `DEVICE,SOCKET`: the numbers of an open `/dev/userfaultfd` and of a socket of datagrams.
const VARIABLE: &CStr = c"BARTIZAN_TRACKED";
/// What preloads this, unless the dynamic loader was told by an argument.
const PRELOAD: &CStr = c"LD_PRELOAD";

/// `USERFAULTFD_IOC_NEW` of include/uapi/linux/userfaultfd.h.
const NEW: c_ulong = 0xaa00;
/// `UFFD_USER_MODE_ONLY`, likewise.
const USER_MODE_ONLY: c_int = 1;

/// The dynamic loader calls what is here once the C library is ready, and before the program's `main`.
// SAFETY: the section holds pointers to functions of the C calling convention, which is what this is.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    // SAFETY: the name is a C string, and no other thread is there that could change the environment.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    if value.is_null() {
        return;
    }
    // SAFETY: what getenv(3) found is a C string, which is not changed before `forget`.
    let descriptors = descriptors(unsafe { CStr::from_ptr(value) });
    forget(VARIABLE);
    forget(PRELOAD);
    if let Some([device, socket]) = descriptors {
        hand_over(device, socket);
        close(device);
        close(socket);
    }
}

fn descriptors(value: &CStr) -> Option<[c_int; 2]> {
    let (device, socket) = value.to_str().ok()?.split_once(',')?;
    // Not the standard three, which are the program's own.
    let number = |text: &str| text.parse().ok().filter(|number| *number > 2);
    Some([number(device)?, number(socket)?])
}

fn hand_over(device: c_int, socket: c_int) {
    // Flags of open(2), and no say in what the kernel does: `bartizan-write-tracking`, module `userfault`, has the reason.
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | USER_MODE_ONLY;
    // SAFETY: the argument is an integer; a device of another kind refuses the request.
    let userfault = unsafe { libc::ioctl(device, NEW, flags) };
    if userfault >= 0 {
        send(socket, userfault);
        // The only one left is on its way: nothing in this process can act by it.
        close(userfault);
    }
}

/// Sends one byte and the descriptor. Whether it arrives, the other side sees.
fn send(socket: c_int, descriptor: c_int) {
    const SIZE: u32 = c_int::BITS / 8;
    // SAFETY: it computes a size, no more.
    const SPACE: usize = unsafe { libc::CMSG_SPACE(SIZE) } as usize;

    #[repr(C)]
    union Control {
        bytes: [u8; SPACE],
        _aligned: mem::ManuallyDrop<cmsghdr>,
    }

    let mut byte = 0_u8;
    let mut control = Control { bytes: [0; SPACE] };
    let mut vector = iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: all zeroes are an empty message.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = SPACE;
    // SAFETY: the message has a control buffer with place for one header and its data, aligned for it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    let filled = cmsghdr {
        // SAFETY: it computes a size, no more.
        cmsg_len: unsafe { libc::CMSG_LEN(SIZE) } as usize,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: that header is the first of the buffer, ours and aligned.
    unsafe { header.write(filled) };
    // SAFETY: the data of that header are in the buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: there is place for one number, of whatever alignment.
    unsafe { data.cast::<c_int>().write_unaligned(descriptor) };
    // SAFETY: everything the message points to lives until the call has returned.
    unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
}

fn forget(variable: &CStr) {
    let name: *const c_char = variable.as_ptr();
    // SAFETY: the name is a C string, and no other thread is there that could read the environment.
    unsafe { libc::unsetenv(name) };
}

/// Not by `OwnedFd`, which would end the process where the environment named no open descriptor.
fn close(descriptor: c_int) {
    // SAFETY: whoever started this process meant this descriptor for this library alone, and nothing else runs yet.
    unsafe { libc::close(descriptor) };
}
