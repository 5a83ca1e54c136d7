//! The enclave: which guests run is told to it, and what devices and the enclave say to one another is handed on.
//!
//! ```text
//!   keeper ── Unix socket ──► TLS 1.3, this side the client ──► the chain is an enclave's of this card ──► relay
//! ```
//!
//! The bytes come by the keeper, which is believed nothing: only who has the key of an enclave that this host's card has certified,
//! after the last phase of its boot, is told of guests and decides on flows. Of two the newer one does: an enclave that was started
//! again takes the place of the one before.
//!
//! Known attack: the enclave hangs, and with it the hypervisor. Each way is a queue of its own, all of them bounded; the guests' API, and
//! their lives, know nothing of it.

mod devices;
mod identity;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::config::Enclave;
use super::registry::Registry;
use crate::socket;
use identity::HandshakeError;

/// How long a handshake may take, the card's certificate for it included.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Binds the socket at which the keeper connects enclaves.
pub(super) fn bind(config: &Enclave) -> std::io::Result<UnixListener> {
    socket::bind(&config.socket)
}

/// Serves enclaves until it is dropped.
pub(super) async fn serve(listener: UnixListener, config: &Enclave, registry: &Arc<Registry>) {
    let mut present: Option<JoinHandle<()>> = None;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if !stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == config.keeper_uid)
        {
            tracing::warn!("a connection of another user than the keeper's was refused");
            continue;
        }
        if let Some(former) = present.take() {
            former.abort();
        }
        let (registry, decisions) = (Arc::clone(registry), config.decisions_socket.clone());
        present = Some(tokio::spawn(async move {
            match session(stream, &registry, decisions).await {
                Ok(ended) => tracing::warn!(error = %ended, "the enclave is gone"),
                Err(error) => tracing::warn!(%error, "no enclave is taken up"),
            }
        }));
    }
}

async fn session(
    stream: UnixStream,
    registry: &Registry,
    decisions: std::path::PathBuf,
) -> Result<relay::RelayError, HandshakeError> {
    let handshake = identity::connect(stream, registry);
    let enclave = timeout(HANDSHAKE, handshake)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    tracing::info!("the enclave is there");
    Ok(relay::run(enclave, registry.running.follow(), decisions).await)
}
