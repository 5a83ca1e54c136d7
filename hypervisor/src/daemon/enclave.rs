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
//! A link lasts as long as the certificate that the enclave has shown on it, and no longer: the enclave sees to this side's in the same way.
//! Then it opens another.
//!
//! Known attack: the enclave hangs, and with it the hypervisor. Each way is a queue of its own, all of them bounded; the guests' API, and
//! their lives, know nothing of it.

mod devices;
mod identity;
mod presence;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::config::Enclave;
use super::registry::Registry;
use crate::clock::unix_now;
use crate::socket;
use identity::HandshakeError;
pub(super) use presence::EnclavePresence;

/// How often it is looked at the wall clock, in seconds.
const LOOK_S: u64 = 30;
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
    let _present = registry.enclave.opened(unix_now());
    let relaying = relay::run(enclave.stream, registry.running.follow(), decisions);
    Ok(tokio::select! {
        ended = relaying => ended,
        () = ended_at(enclave.not_after) => relay::RelayError::CertificateEnded,
    })
}

/// Waits until that second of the wall clock is over, which may be set meanwhile.
async fn ended_at(not_after: u64) {
    loop {
        let left = not_after.saturating_add(1).saturating_sub(unix_now());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(left.min(LOOK_S))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_certificate_ends_after_its_last_second() {
        ended_at(unix_now().saturating_sub(1)).await;
        let lasts = timeout(Duration::from_secs(10), ended_at(unix_now() + 3600)).await;
        lasts.unwrap_err();
    }
}
