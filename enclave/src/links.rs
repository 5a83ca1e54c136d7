//! What is done on the links to the hypervisor and to the verifier. None outlasts the certificate that was shown to open it: the verifier
//! ends the stream with the enclave's. Both are kept open by [`crate::run`]: when one of these returns,
//! its link is opened again.

use std::time::Duration;

use bartizan_channel::TlsStream;
use bartizan_local::port::stream::Connection;
use tokio::time::{Instant, sleep};

use crate::hypervised::{self, Host};
use crate::machine::Device;
use crate::peers::Peer;
use crate::policing::{self, PolicingError};
use crate::run::{Enclave, now_s};

/// How often it is looked at the clock, in seconds: it may be set.
const LOOK_S: u64 = 30;

/// A stream that was held open for so long was of use: one that is ended as soon as it was opened is no better than none. Longer than what
/// opening one may take.
const LASTS: Duration = Duration::from_secs(60);

/// A link, as TLS has it.
pub type Link = TlsStream<Connection<Device>>;

/// Serves the hypervisor of this host, until the link is closed.
pub async fn serve_hypervisor(enclave: &Enclave, link: Link, hypervisor: Peer) {
    let host = Host {
        card: hypervisor.card,
        anchors: &enclave.anchors,
    };
    tracing::info!("the hypervisor is there");
    tokio::select! {
        ended = hypervised::serve(link, &enclave.ruling, host) => {
            tracing::warn!(error = %ended, "the hypervisor is gone");
        }
        () = ended_at(hypervisor.not_after) => {
            tracing::info!("the hypervisor's certificate has ended; another link is opened");
        }
    }
}

/// Waits until that second of the machine's clock is over.
pub(crate) async fn ended_at(not_after: u64) {
    loop {
        let left = not_after.saturating_add(1).saturating_sub(now_s());
        if left == 0 {
            return;
        }
        sleep(Duration::from_secs(left.min(LOOK_S))).await;
    }
}

/// Speaks with the verifier, until the link is closed.
///
/// # Errors
/// The stream did not come to be, or not to last.
pub async fn serve_verifier(enclave: &Enclave, link: Link) -> Result<(), PolicingError> {
    let Enclave {
        config,
        ruling,
        held,
        ..
    } = enclave;
    let begun = Instant::now();
    let ended = policing::serve(link, &config.verifier, &config.authors, ruling, held).await;
    if begun.elapsed() < LASTS {
        return Err(ended);
    }
    tracing::warn!(error = %ended, "the verifier is gone");
    Ok(())
}
