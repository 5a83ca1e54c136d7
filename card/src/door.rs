//! Who comes in at a socket: users that may, as many at once as there are places. Others are told nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pause after a failed accept, which is for want of descriptors: some connection is to end first.
const BREATH: Duration = Duration::from_millis(50);

/// The door of one socket.
#[derive(Debug)]
pub(crate) struct Door {
    allowed_uids: Vec<u32>,
    places: Arc<Semaphore>,
}

/// Who came in.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) stream: UnixStream,
    /// The user at its other end, as the kernel says.
    pub(crate) uid: u32,
    /// Given back when it is dropped.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Door {
    pub(crate) fn new(allowed_uids: &[u32], places: usize) -> Self {
        Self {
            allowed_uids: allowed_uids.to_vec(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Waits for the next one. Whoever stops waiting turns nobody away.
    pub(crate) async fn next(&self, listener: &UnixListener) -> Visitor {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let uid = stream.peer_cred().map(|peer| peer.uid());
            let Some(uid) = uid.ok().filter(|uid| self.allowed_uids.contains(uid)) else {
                tracing::warn!("a connection of another user was refused");
                continue;
            };
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Visitor { stream, uid, place };
            }
        }
    }
}
