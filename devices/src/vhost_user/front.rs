//! QEMU's end of a device's link: its messages, each taken when it is there as a whole.
//!
//! `vhost` takes them but for one. QEMU 7.2 enables a network device's rings before its driver has chosen features
//! (`VHOST_USER_SET_VRING_ENABLE` before `VHOST_USER_SET_FEATURES`), which the specification allows once protocol features are
//! negotiated, and `vhost` does not.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_local::recv_with_descriptors;
use rustix::net::{SendFlags, send};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{
    BackendReqHandler, Error as VhostUserError, VhostUserBackendReqHandlerMut,
};

use super::Backend;
use super::whole::{Come, MessageError, look};

/// How long a message may take to be read that is there, or its answer to be taken.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// `VHOST_USER_SET_VRING_ENABLE`.
const SET_RING_ENABLE: u32 = 18;
/// Of a message's flags: version 1; an answer; an answer is wanted.
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// The link to QEMU, or to the supervisor that stands before it.
pub struct Front {
    link: UnixStream,
    // vhost's handler wants shared ownership; both are used by one thread alone.
    backend: Arc<Mutex<Backend>>,
    vhost: BackendReqHandler<Mutex<Backend>>,
    rings_first: bool,
}

/// The link is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// What came is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// QEMU broke the protocol.
    #[error("the vhost-user link broke: {0}")]
    Protocol(#[from] VhostUserError),
    /// The message to enable a ring is none.
    #[error("the message that enables a ring is malformed")]
    Enable,
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}

impl Front {
    /// Over a link that nobody else reads. Where `rings_first`, rings may be enabled before there are features, as a network
    /// device's are.
    pub fn new(link: UnixStream, backend: Backend, rings_first: bool) -> io::Result<Self> {
        link.set_read_timeout(Some(MESSAGE_TIMEOUT))?;
        link.set_write_timeout(Some(MESSAGE_TIMEOUT))?;
        let backend = Arc::new(Mutex::new(backend));
        let vhost = BackendReqHandler::from_stream(link.try_clone()?, Arc::clone(&backend));
        Ok(Self {
            link,
            backend,
            vhost,
            rings_first,
        })
    }

    /// The device as it is set up now.
    pub fn backend(&self) -> MutexGuard<'_, Backend> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next message, if one is there; `false` at the link's end.
    pub fn take(&mut self) -> Result<bool, FrontError> {
        match look(&self.link)? {
            Come::Nothing => {}
            Come::End => return Ok(false),
            Come::Message(SET_RING_ENABLE) if self.takes_early() => self.enable_ring()?,
            Come::Message(_) => self.vhost.handle_request()?,
        }
        Ok(true)
    }

    /// Whether protocol features are negotiated and features not yet.
    fn takes_early(&self) -> bool {
        let backend = self.backend();
        self.rings_first && backend.features() == 0 && backend.protocol_features().is_some()
    }

    /// Request, flags, size; index and number (vhost-user specification, "A vring state description").
    fn enable_ring(&mut self) -> Result<(), FrontError> {
        let mut bytes = [0; 20];
        let (read, descriptors) = recv_with_descriptors(&self.link, &mut bytes)?;
        let [_, flags, size, index, number] = words(&bytes);
        let is_whole = read == bytes.len() && size == 8 && descriptors.is_empty();
        if !is_whole || flags & 3 != VERSION || flags & REPLY != 0 || number > 1 {
            return Err(FrontError::Enable);
        }
        let mut backend = self.backend();
        let done = backend.set_vring_enable(index, number == 1);
        let acknowledges = VhostUserProtocolFeatures::REPLY_ACK.bits();
        if flags & NEED_REPLY != 0 && backend.protocol_features().unwrap_or(0) & acknowledges != 0 {
            let failed = u32::from(done.is_err());
            let answer = [SET_RING_ENABLE, VERSION | REPLY, 8, failed, 0].map(u32::to_ne_bytes);
            send(&self.link, &answer.concat(), SendFlags::NOSIGNAL).map_err(io::Error::from)?;
        }
        Ok(done?)
    }
}

fn words(bytes: &[u8; 20]) -> [u32; 5] {
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
    }
    words
}

#[cfg(test)]
mod tests;
