//! Serving the card's sockets: the hypervisor's, the operators'.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{CardReply, CardRequest, MAX_FRAME};
use bartizan_local::{FrameError, aio};
use minicbor::{Decode, Encode};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::door::{Door, Visitor};
use crate::service::Card;

/// How long a request may take to arrive, and an answer to leave.
const STALL: Duration = Duration::from_secs(30);

/// Parts of an answer that wait to be written.
const PARTS: usize = 2;

/// What answers the requests of one socket.
pub trait Serves: Send + Sync + 'static {
    /// What it is asked.
    type Request: Encode<()> + for<'b> Decode<'b, ()> + Send;
    /// What it answers.
    type Reply: Encode<()> + Send + Sync;
    /// Connections at once.
    const CONNECTIONS: usize;
    /// Largest request, in bytes.
    const MAX_REQUEST: usize;

    /// Answers a request of a user; parts of the answer that come before its last one go by `before`, which fails once nobody waits for
    /// them any more. It is done to its end, also then.
    fn answer(
        &self,
        request: Self::Request,
        uid: u32,
        before: mpsc::Sender<Self::Reply>,
    ) -> impl Future<Output = Self::Reply> + Send;

    /// What to answer to bytes that are no request, before the connection is closed.
    fn unreadable(&self, _error: &FrameError, _uid: u32) -> Option<Self::Reply> {
        None
    }
}

impl Serves for Card {
    type Request = CardRequest;
    type Reply = CardReply;
    /// One a request of the hypervisor's.
    const CONNECTIONS: usize = 512;
    const MAX_REQUEST: usize = MAX_FRAME;

    async fn answer(
        &self,
        request: CardRequest,
        _uid: u32,
        _before: mpsc::Sender<CardReply>,
    ) -> CardReply {
        Self::answer(self, request).await
    }
}

/// Binds the socket, replacing one that a card before us left.
pub fn bind(socket: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves until dropped.
pub async fn serve<S: Serves>(service: Arc<S>, listener: UnixListener, allowed_uids: &[u32]) {
    let door = Door::new(allowed_uids, S::CONNECTIONS);
    loop {
        let Visitor { stream, uid, place } = door.next(&listener).await;
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            if let Err(error) = converse(&*service, stream, uid).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
}

async fn converse<S: Serves>(
    service: &S,
    mut stream: UnixStream,
    uid: u32,
) -> Result<(), FrameError> {
    loop {
        let request = match within(aio::read_frame(&mut stream, S::MAX_REQUEST)).await {
            Ok(request) => request,
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => {
                if let Some(reply) = service.unreadable(&error, uid) {
                    within(aio::write_frame(&mut stream, &reply, MAX_FRAME)).await?;
                }
                return Err(error);
            }
        };
        answer(service, request, uid, &mut stream).await?;
    }
}

/// Writes all parts of an answer. Where one cannot be written, the answer is worked out to its end all the same.
async fn answer<S: Serves>(
    service: &S,
    request: S::Request,
    uid: u32,
    stream: &mut UnixStream,
) -> Result<(), FrameError> {
    let (before, mut parts) = mpsc::channel(PARTS);
    let answer = service.answer(request, uid, before);
    tokio::pin!(answer);
    let mut written = Ok(());
    let last = loop {
        tokio::select! {
            biased;
            Some(part) = parts.recv(), if written.is_ok() => {
                written = within(aio::write_frame(stream, &part, MAX_FRAME)).await;
                if written.is_err() {
                    parts.close();
                }
            }
            last = &mut answer => break last,
        }
    };
    written?;
    while let Some(part) = parts.recv().await {
        within(aio::write_frame(stream, &part, MAX_FRAME)).await?;
    }
    within(aio::write_frame(stream, &last, MAX_FRAME)).await
}

async fn within<T>(work: impl Future<Output = Result<T, FrameError>>) -> Result<T, FrameError> {
    let stalled = |_| FrameError::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(STALL, work).await.map_err(stalled)?
}
