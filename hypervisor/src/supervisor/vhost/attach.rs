//! Attaching a guest's device at the devices process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bartizan_local::admission::Ticket;
use bartizan_local::attachment::{Attach, Attached, DeviceKind, MAX_FRAME};
use bartizan_local::{FrameError, aio, encode, send_with_descriptors};
use rustix::fs::{MemfdFlags, SealFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Link, WrittenLog};

/// How long connecting and the answer may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Size of the journal in bytes; 12 a connection, at most 4096 of them.
const JOURNAL: u64 = 64 << 10;

/// Where the devices process is, and by what it knows the device that it shall serve.
#[derive(Clone, Debug)]
pub struct Devices {
    socket: PathBuf,
    ticket: Ticket,
    /// A memory file in which the devices process notes the open connections of a vsock device: its successor resets them. A
    /// network device has none: its guests' own connections outlive it.
    journal: Option<Arc<OwnedFd>>,
    /// Where it notes what it writes of the guest's RAM.
    log: Option<WrittenLog>,
}

/// The device could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The devices process is not there.
    #[error(
        "the devices process at {socket} cannot be reached: {source}; is `bartizan-devices` running?"
    )]
    Unreachable {
        /// Its control socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It refused.
    #[error("the devices process refused the guest's device: {0}")]
    Refused(String),
    /// The daemon has not told it of the guest.
    #[error(
        "the devices process knows no guest by that ticket; it has just started, or the guest's boot has ended"
    )]
    UnknownTicket,
    /// It answered otherwise than in a frame.
    #[error("the devices process did not answer: {0}")]
    Frame(#[from] FrameError),
    /// It did not answer in time.
    #[error("the devices process did not answer within {DEADLINE:?}")]
    TimedOut,
}

impl Devices {
    /// The network device of one QEMU process, to be served behind the control socket `socket`, as it was admitted by `ticket`.
    #[must_use]
    pub const fn network(socket: PathBuf, ticket: Ticket) -> Self {
        Self {
            socket,
            ticket,
            journal: None,
            log: None,
        }
    }

    /// Its vsock device, likewise.
    pub fn vsock(socket: PathBuf, ticket: Ticket) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let journal = rustix::fs::memfd_create("bartizan-journal", flags)?;
        rustix::fs::ftruncate(&journal, JOURNAL)?;
        rustix::fs::fcntl_add_seals(
            &journal,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        Ok(Self {
            socket,
            ticket,
            journal: Some(Arc::new(journal)),
            log: None,
        })
    }

    /// Has the device note what it writes of the guest's RAM, if there is a log: the same one at each attachment.
    #[must_use]
    pub fn logged(self, log: Option<WrittenLog>) -> Self {
        Self { log, ..self }
    }

    /// Notes that the device may have written to any page: it has ended, or does not answer, and may not have come to note what it
    /// wrote last. To be called as soon as that is seen, and before QEMU is told that it has its rings back.
    pub fn lost(&self) {
        if let Some(log) = &self.log {
            log.all();
        }
    }

    /// Which device it is.
    #[must_use]
    pub const fn kind(&self) -> DeviceKind {
        match self.journal {
            Some(_) => DeviceKind::Vsock,
            None => DeviceKind::Network,
        }
    }

    /// Attaches: the device lives as long as the link.
    pub async fn attach(&self) -> Result<Link, AttachError> {
        timeout(DEADLINE, self.attach_in_time())
            .await
            .map_err(|_| AttachError::TimedOut)?
    }

    async fn attach_in_time(&self) -> Result<Link, AttachError> {
        let unreachable = |source| AttachError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let mut stream = UnixStream::connect(&self.socket)
            .await
            .map_err(unreachable)?;
        self.send(&stream).await.map_err(unreachable)?;
        match aio::read_frame(&mut stream, MAX_FRAME).await? {
            Attached::Serving => Ok(Link::new(stream)),
            Attached::UnknownTicket => Err(AttachError::UnknownTicket),
            Attached::Refused(why) => Err(AttachError::Refused(why)),
        }
    }

    async fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let body = encode(&Attach {
            ticket: self.ticket,
            device: self.kind(),
            logged: self.log.is_some(),
        });
        let size = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let frame = [size.to_be_bytes().as_slice(), &body].concat();
        // A fresh socket's buffer takes a frame whole.
        let journal = self.journal.iter().map(|file| file.as_fd());
        let log = self.log.iter().map(|log| log.file());
        let files: Vec<_> = journal.chain(log).collect();
        let send = || send_with_descriptors(stream, &frame, &files);
        match stream.async_io(Interest::WRITABLE, send).await? {
            sent if sent == frame.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}
