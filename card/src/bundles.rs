//! Serving the coordinator's first stage: the bundle that the verifier has, handed over as it came.
//!
//! It is served before this host is enrolled, in order to be told so, and holds one bundle at a time, in memory alone.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bartizan_attestation::boot::{BundleRefusal, BundleReply, BundleRequest};
use bartizan_local::{FrameError, aio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::door::{Door, Visitor};
use crate::verifier::Verifier;

/// How long a request may take to arrive, and an answer to leave.
const STALL: Duration = Duration::from_secs(30);
/// How long the verifier may take, from the request to the last byte.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long the bytes of a bundle may take to leave.
const HANDOVER: Duration = Duration::from_secs(60);
/// Connections at once: there is one stage.
const MAX_CONNECTIONS: usize = 4;

/// What fetches bundles.
pub struct Bundles {
    /// Once this host is enrolled.
    verifier: OnceLock<Arc<Verifier>>,
    /// One is fetched at a time.
    turn: Semaphore,
}

impl Default for Bundles {
    fn default() -> Self {
        Self {
            verifier: OnceLock::new(),
            turn: Semaphore::new(1),
        }
    }
}

impl Bundles {
    /// From now on they are fetched there.
    pub fn fetch_from(&self, verifier: Arc<Verifier>) {
        // Told once: a card is enrolled once.
        let _known = self.verifier.set(verifier);
    }

    /// Serves until dropped; for ever nobody where there is no listener.
    pub async fn serve(self: &Arc<Self>, listener: Option<UnixListener>, allowed_uids: &[u32]) {
        let Some(listener) = listener else {
            return std::future::pending().await;
        };
        let door = Door::new(allowed_uids, MAX_CONNECTIONS);
        loop {
            let Visitor { stream, place, .. } = door.next(&listener).await;
            let this = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = this.answer(stream).await {
                    tracing::debug!(%error, "connection ended");
                }
                drop(place);
            });
        }
    }

    async fn answer(&self, mut stream: UnixStream) -> Result<(), FrameError> {
        let read = aio::read_frame(&mut stream, BundleRequest::MAX_FRAME);
        let BundleRequest::Newest { release_key } = within(STALL, read).await?;
        // Held until the bytes have left, or it is known that there are none: who is told so may ask again at once.
        let turn = self.turn.try_acquire();
        let fetched = match (&turn, self.verifier.get()) {
            (Err(_), _) => Err(BundleRefusal::Busy),
            (Ok(_), None) => Err(BundleRefusal::NotEnrolled),
            (Ok(_), Some(verifier)) => fetch(verifier, &release_key, &mut stream).await?,
        };
        let (reply, bytes) = match fetched {
            Ok(bytes) => match u32::try_from(bytes.len()) {
                Ok(size) => (BundleReply::Follows { size }, bytes),
                Err(_) => (BundleReply::Refused(BundleRefusal::TooLarge), Vec::new()),
            },
            Err(refusal) => {
                drop(turn);
                tracing::warn!(%refusal, "no bundle for the coordinator");
                (BundleReply::Refused(refusal), Vec::new())
            }
        };
        let write = aio::write_frame(&mut stream, &reply, BundleRequest::MAX_FRAME);
        within(STALL, write).await?;
        let hand_over = async { Ok(stream.write_all(&bytes).await?) };
        within(HANDOVER, hand_over).await
    }
}

/// Fetches it, for as long as the stage waits for it.
async fn fetch(
    verifier: &Verifier,
    release_key: &[u8; 32],
    stage: &mut UnixStream,
) -> Result<Result<Vec<u8>, BundleRefusal>, FrameError> {
    let mut word = [0];
    tokio::select! {
        fetched = verifier.newest_bundle(release_key, DEADLINE) => Ok(fetched),
        // It says nothing more: what comes is its end.
        _ = stage.read(&mut word) => Err(FrameError::Closed),
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, FrameError>>,
) -> Result<T, FrameError> {
    let stalled = |_| FrameError::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(deadline, work)
        .await
        .map_err(stalled)?
}
