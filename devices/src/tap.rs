//! Opening TAP devices of the host, before the process is confined.
#![expect(
    unsafe_code,
    reason = "what a TAP device is told goes by ioctl(2), for which no library has safe functions"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use bartizan_devices::net::header::HEADER_LEN;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

/// A TAP device cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "the TAP device `{name}` cannot be had: {error}; it must be there before this process is, and be its user's (ip tuntap add dev {name} mode tap user USER)"
)]
pub(crate) struct TapError {
    name: String,
    error: io::Error,
}

/// Opens the TAP device of that name, which belongs to this process's user: so it needs no privilege.
pub(crate) fn open(name: &str) -> Result<OwnedFd, TapError> {
    let opened = attached(name);
    opened.map_err(|error| TapError {
        name: name.into(),
        error,
    })
}

fn attached(name: &str) -> io::Result<OwnedFd> {
    // Without this a process with more rights would make one, which is gone with the process.
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    name_to_index(&any, name)?;
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // Its last byte stays zero.
    let places = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
    for (place, byte) in places.zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    // SAFETY: the kernel reads and writes one `ifreq` there (linux/if_tun.h).
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    // The kernel's words are of its own byte order, unless it is told so.
    set(&tap, libc::TUNSETVNETLE, 1)?;
    set(
        &tap,
        libc::TUNSETVNETHDRSZ,
        i32::try_from(HEADER_LEN).map_err(io::Error::other)?,
    )?;
    // No TSO: packets of several segments could be handed to no guest whose driver takes none, and the kernel cuts them well. Checksums
    // are made here for those who take no packets without.
    let offloads = libc::TUN_F_CSUM;
    // SAFETY: this one takes its argument by value, and no memory.
    check(unsafe {
        libc::ioctl(
            tap.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(offloads),
        )
    })?;
    Ok(tap.into())
}

fn set(tap: &File, request: libc::Ioctl, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one `int` there (linux/if_tun.h).
    check(unsafe { libc::ioctl(tap.as_raw_fd(), request, &raw const value) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
