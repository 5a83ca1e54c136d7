//! Many flows at once, each datagram of which has a number.

use std::collections::HashSet;
use std::fs::File;
use std::io::stdin;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{self, MsgFlags, setsockopt, sockopt};

use crate::frames;

/// Where an IPv4 packet without options has its UDP ports, and where a number of eight bytes in its payload.
const PORTS: std::ops::Range<usize> = 34..38;
const NUMBER: std::ops::Range<usize> = 42..50;
/// Between two notes of what was sent.
const STEP: u64 = 128;
/// Room for what comes faster than it is counted.
const BACKLOG: usize = 16 << 20;

/// Sends the frame of standard input, a UDP datagram in hexadecimal digits, by the ports of so many flows in turn: source ports first.
/// Where `file` is `-`, one datagram a flow; else for ever, and the file says how many are sent at most by now.
pub(crate) fn send(flows: u64, file: &str) -> Result<()> {
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let mut frame = hex::decode(line.trim())?;
    let ports = frame.get(PORTS).context("the frame is short")?;
    let base = u32::from_be_bytes(ports.try_into()?);
    ensure!(
        flows > 0 && frame.len() >= NUMBER.end,
        "no flow, or no room for a number"
    );
    let noted = (file != "-").then(|| File::create(file)).transpose()?;
    let socket = frames::open()?;
    let mut number: u64 = 0;
    while noted.is_some() || number < flows {
        if let Some(noted) = noted.as_ref().filter(|_| number.is_multiple_of(STEP)) {
            noted.write_all_at(&(number + STEP).to_be_bytes(), 0)?;
        }
        let flow = u32::try_from(number % flows)?;
        // As the number of flows goes up, so does the source port, then the other one.
        let ports = base.wrapping_add(flow << 16).wrapping_add(flow >> 16);
        frame[PORTS].copy_from_slice(&ports.to_be_bytes());
        frame[NUMBER].copy_from_slice(&number.to_be_bytes());
        let sent = send_one(&socket, &frame)?;
        ensure!(sent == frame.len(), "a frame was sent in part");
        number += 1;
    }
    Ok(())
}

/// Waits where the device takes no more.
fn send_one(socket: &impl AsRawFd, frame: &[u8]) -> Result<usize> {
    loop {
        match socket::send(socket.as_raw_fd(), frame, MsgFlags::empty()) {
            Err(nix::Error::ENOBUFS) => std::thread::yield_now(),
            sent => return Ok(sent?),
        }
    }
}

/// Takes datagrams at a port for ever; the file says how many came, by how many flows, and the highest number of all.
pub(crate) fn take(port: u16, file: &str) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    setsockopt(&socket, sockopt::RcvBufForce, &BACKLOG)?;
    let file = File::create(file)?;
    let mut flows = HashSet::new();
    let (mut count, mut highest) = (0_u64, 0_u64);
    let mut datagram = [0; 64];
    loop {
        let told = [count, flows.len() as u64, highest].map(u64::to_be_bytes);
        file.write_all_at(&told.concat(), 0)?;
        let (length, from) = socket.recv_from(&mut datagram)?;
        let number = datagram.get(..length).and_then(|bytes| bytes.first_chunk());
        let number = u64::from_be_bytes(*number.context("a datagram without a number")?);
        flows.insert(from);
        count += 1;
        highest = highest.max(number);
    }
}
