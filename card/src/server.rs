//! Serving the hypervisor on the card's socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::MAX_FRAME;
use bartizan_local::{FrameError, aio};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::service::Card;

/// Connections at once: one a request of the hypervisor's.
const MAX_CONNECTIONS: usize = 512;
/// How long a request may take to arrive, and an answer to leave.
const STALL: Duration = Duration::from_secs(30);

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
pub async fn serve(card: Arc<Card>, listener: UnixListener, allowed_uids: &[u32]) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: let some connection end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if !stream
            .peer_cred()
            .is_ok_and(|peer| allowed_uids.contains(&peer.uid()))
        {
            tracing::warn!("a connection of another user was refused");
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let card = Arc::clone(&card);
        tokio::spawn(async move {
            if let Err(error) = converse(&card, stream).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
}

async fn converse(card: &Card, mut stream: UnixStream) -> Result<(), FrameError> {
    loop {
        let request = match within(aio::read_frame(&mut stream, MAX_FRAME)).await {
            Err(FrameError::Closed) => return Ok(()),
            request => request?,
        };
        let reply = card.answer(request).await;
        within(aio::write_frame(&mut stream, &reply, MAX_FRAME)).await?;
    }
}

async fn within<T>(work: impl Future<Output = Result<T, FrameError>>) -> Result<T, FrameError> {
    let stalled = |_| FrameError::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(STALL, work).await.map_err(stalled)?
}
