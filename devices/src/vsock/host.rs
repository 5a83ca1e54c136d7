//! The host's end of a connection: a nonblocking Unix stream socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    connect, recv, send, shutdown, socket_with,
};

/// A connected socket of a host service.
pub(super) struct HostSocket(OwnedFd);

/// What reading brought.
pub(super) enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The service will send no more.
    End,
    /// Nothing yet.
    Nothing,
}

impl HostSocket {
    /// Connects without waiting. A service whose backlog is full refuses, as one that is away.
    pub(super) fn connect(address: &SocketAddrUnix) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, address)?;
        Ok(Self(socket))
    }

    /// Sends what goes without waiting; returns how much that was.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.0, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives what is there.
    pub(super) fn receive(&self, into: &mut [u8]) -> io::Result<Received> {
        match recv(&self.0, into, RecvFlags::empty()) {
            Ok((0, _)) => Ok(Received::End),
            Ok((count, _)) => Ok(Received::Bytes(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the service that no more will come.
    pub(super) fn end_sending(&self) {
        // Fails only where the service is gone already, which reading will tell.
        let _ = shutdown(&self.0, Shutdown::Write);
    }

    /// Lets the service's further writes fail.
    pub(super) fn end_receiving(&self) {
        let _ = shutdown(&self.0, Shutdown::Read);
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
