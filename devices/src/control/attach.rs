//! Reading an attachment off a control connection.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_local::attachment::{AttachVsock, MAX_FRAME};
use bartizan_local::{FrameError, read_frame, recv_with_descriptors};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::device::Attachment;
use crate::vsock::{Journal, Limits, Services, ServicesError};

/// How long a supervisor may take to say what it wants.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The first context id that a guest may have (virtio 1.2 section 5.10.4).
const FIRST_CID: u32 = 3;

/// An attachment is refused.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No attachment was read.
    #[error("no attachment was received: {0}")]
    Frame(#[from] FrameError),
    /// Not a guest's context id.
    #[error("{0} is not a guest's CID; choose 3 to 4294967294")]
    BadCid(u32),
    /// The services cannot be served.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The wrong descriptors.
    #[error("{0} descriptors came; send the vhost-user link and at most a journal")]
    Descriptors(usize),
    /// The first descriptor is not a link.
    #[error("the first descriptor is no connected Unix stream socket")]
    NotALink,
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}

/// Reads an attachment: one frame, with the vhost-user link and optionally a journal's file (see
/// [`Journal`]) attached to it as descriptors. On refusal the connection is handed back.
pub fn receive(
    control: UnixStream,
    limits: Limits,
) -> Result<Attachment, (UnixStream, AttachError)> {
    match parts(&control) {
        Ok((AttachVsock { cid, .. }, services, qemu, journal)) => Ok(Attachment {
            cid,
            services,
            qemu,
            control,
            journal,
            limits,
        }),
        Err(error) => Err((control, error)),
    }
}

type Parts = (AttachVsock, Services, UnixStream, Option<Journal>);

fn parts(control: &UnixStream) -> Result<Parts, AttachError> {
    control.set_read_timeout(Some(TIMEOUT))?;
    control.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = Reader {
        control,
        descriptors: Vec::new(),
    };
    let wish: AttachVsock = read_frame(&mut reader, MAX_FRAME)?;
    let count = reader.descriptors.len();
    let mut descriptors = reader.descriptors.into_iter();
    let (Some(link), journal, None) = (descriptors.next(), descriptors.next(), descriptors.next())
    else {
        return Err(AttachError::Descriptors(count));
    };
    if wish.cid < FIRST_CID || wish.cid == u32::MAX {
        return Err(AttachError::BadCid(wish.cid));
    }
    let services = Services::new(&wish.services)?;
    Ok((
        wish,
        services,
        checked_link(link)?,
        journal.map(Journal::new),
    ))
}

fn checked_link(link: OwnedFd) -> Result<UnixStream, AttachError> {
    let is_stream = socket_domain(&link) == Ok(AddressFamily::UNIX)
        && socket_type(&link) == Ok(SocketType::STREAM);
    let link = UnixStream::from(link);
    if is_stream && link.peer_addr().is_ok() {
        Ok(link)
    } else {
        Err(AttachError::NotALink)
    }
}

/// Reads bytes and keeps the descriptors that come with them.
struct Reader<'c> {
    control: &'c UnixStream,
    descriptors: Vec<OwnedFd>,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, descriptors) = recv_with_descriptors(self.control, buffer)?;
        self.descriptors.extend(descriptors);
        Ok(count)
    }
}
