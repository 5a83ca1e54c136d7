//! Frames as they are, past the kernel's own stack: what a guest's root sends and sees.

use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

/// Its one interface.
const INTERFACE: &str = "eth0";
/// Most bytes of a frame.
const MOST: usize = 64 << 10;

/// Sends the frames of standard input, each a line in hexadecimal digits.
pub(crate) fn send_all() -> Result<()> {
    let socket = open()?;
    for line in std::io::stdin().lock().lines() {
        let frame = hex::decode(line?.trim())?;
        let sent = send(socket.as_raw_fd(), &frame, MsgFlags::empty())?;
        anyhow::ensure!(sent == frame.len(), "a frame was sent in part");
    }
    Ok(())
}

/// Writes the frames that come, and those that this guest sends, to a file, until it is ended: each a line in hexadecimal digits.
pub(crate) fn listen(file: &str) -> Result<()> {
    let socket = open()?;
    // Whoever finds it knows that nothing is missed from now on.
    let mut file = BufWriter::new(File::create(file)?);
    let mut frame = vec![0; MOST];
    loop {
        let length = recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty())?;
        let frame = frame.get(..length).context("the kernel counts in bytes")?;
        writeln!(file, "{}", hex::encode(frame))?;
        file.flush()?;
    }
}

pub(crate) fn open() -> Result<std::os::fd::OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    bind(socket.as_raw_fd(), &interface()?)?;
    Ok(socket)
}

fn interface() -> Result<LinkAddr> {
    let mut addresses = getifaddrs()?.filter(|one| one.interface_name == INTERFACE);
    let link = addresses.find_map(|one| one.address?.as_link_addr().copied());
    link.with_context(|| format!("there is no {INTERFACE}"))
}
