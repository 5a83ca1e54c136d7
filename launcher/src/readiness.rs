//! Hearing that a program serves: sd_notify(3), a socket of its own for each, which its user alone may write to.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::accounts::Account;

/// The socket on which one program says that it serves. Removed when dropped.
#[derive(Debug)]
pub struct Readiness {
    socket: UnixDatagram,
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
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        chown(&path, Some(account.uid), Some(account.gid))?;
        socket.set_nonblocking(true)?;
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

    /// Whether it has said so by now.
    pub fn heard(&self) -> bool {
        let mut said = [0; 256];
        // Whatever else it says is not for us.
        while let Ok(length) = self.socket.recv(&mut said) {
            let said = said.get(..length).unwrap_or_default();
            if said
                .split(|byte| *byte == b'\n')
                .any(|line| line == b"READY=1")
            {
                return true;
            }
        }
        false
    }

    /// Waits until it says that it serves, `ended` (a pidfd) becomes readable, or the time is over.
    pub fn wait(&self, ended: impl AsFd, patience: Duration) -> io::Result<Heard> {
        let deadline = Instant::now() + patience;
        loop {
            if self.heard() {
                return Ok(Heard::Ready);
            }
            let mut polled = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&ended, PollFlags::IN),
            ];
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = timespec(left);
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Ok(Heard::Nothing),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [_, ended] = &polled;
            if ended.revents().contains(PollFlags::IN) && !self.heard() {
                return Ok(Heard::Ended);
            }
        }
    }
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
