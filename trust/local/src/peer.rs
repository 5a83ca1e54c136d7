//! Who is at the other end of a Unix socket, as the kernel says (`SO_PEERCRED`, unix(7)).

use std::io;
use std::os::fd::AsFd;

/// The process that connected, as of then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its effective user id.
    pub uid: u32,
    /// Its process id: for logs, never for trust (pids are recycled).
    pub pid: i32,
}

/// Asks the kernel who connected.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer {
        uid: credentials.uid.as_raw(),
        pid: credentials.pid.as_raw_nonzero().get(),
    })
}
