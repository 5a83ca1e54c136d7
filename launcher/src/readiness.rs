//! Hearing that a program serves: sd_notify(3), a socket of its own for each, which its user alone may write to.
//!
//! Others may be of that user: what it has started, or left behind. So the kernel says of each datagram which process sent it,
//! the program's own count alone, and who sends without end is not listened to without end.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt,
};
use rustix::process::Pid;

use crate::accounts::Account;

/// Datagrams that are read in one go.
const AT_ONCE: usize = 8;

/// The socket on which one program says that it serves. Removed when dropped.
#[derive(Debug)]
pub struct Readiness {
    socket: OwnedFd,
    path: PathBuf,
}

/// What was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It serves.
    Ready,
    /// It ended instead.
    Ended,
    /// Nothing, in all that time.
    Nothing,
}

impl Readiness {
    /// A socket in `folder` for a program of that user.
    pub fn new(folder: &Path, name: &str, account: Account) -> io::Result<Self> {
        let path = folder.join(format!("{}.notify", name.replace('/', "-")));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        // Before anybody can send: what came before would have no sender.
        sockopt::set_socket_passcred(&socket, true)?;
        bind(&socket, &SocketAddrUnix::new(&path)?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        chown(&path, Some(account.uid), Some(account.gid))?;
        Ok(Self { socket, path })
    }

    /// For `NOTIFY_SOCKET`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To be polled.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the program has said so by now, as far as the next few datagrams tell.
    pub fn heard(&self, program: Pid) -> bool {
        // Whatever else it says is not for us.
        (0..AT_ONCE)
            .map_while(|_| self.read())
            .any(|said| said.ready && said.sender == Some(program))
    }

    fn read(&self) -> Option<Said> {
        let mut bytes = [0; 256];
        // For its sender alone: descriptors that come with it find no room.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = recvmsg(&self.socket, &mut into, &mut control, flags)
            .ok()?
            .bytes;
        let sender = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
            _ => None,
        });
        let mut lines = (bytes.get(..length).unwrap_or_default()).split(|byte| *byte == b'\n');
        let ready = lines.any(|line| line == b"READY=1");
        Some(Said { sender, ready })
    }

    /// Waits until the program says that it serves, `ended` (its pidfd) becomes readable, or the time is over.
    pub fn wait(&self, program: Pid, ended: impl AsFd, patience: Duration) -> io::Result<Heard> {
        let deadline = Instant::now() + patience;
        loop {
            if self.heard(program) {
                return Ok(Heard::Ready);
            }
            // Looked at here, since poll(2) does not as long as anybody says anything.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::Nothing);
            }
            let mut polled = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&ended, PollFlags::IN),
            ];
            match poll(&mut polled, Some(&timespec(left))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [_, ended] = &polled;
            if ended.revents().contains(PollFlags::IN) {
                let heard = self.heard(program);
                return Ok(if heard { Heard::Ready } else { Heard::Ended });
            }
        }
    }
}

/// A datagram.
struct Said {
    sender: Option<Pid>,
    ready: bool,
}

/// A duration as poll(2) wants it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        // Left behind it is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
