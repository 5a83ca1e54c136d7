//! What is done on the links to the hypervisor and to the verifier. Both are kept open by [`crate::run`]: when one of these returns,
//! its link is opened again.

use bartizan_channel::TlsStream;
use bartizan_local::port::stream::Connection;

use crate::hypervised::{self, Host};
use crate::machine::Device;
use crate::peers::Peer;
use crate::policing;
use crate::run::Enclave;

/// A link, as TLS has it.
pub type Link = TlsStream<Connection<Device>>;

/// Serves the hypervisor of this host, until the link is closed.
pub async fn serve_hypervisor(enclave: &Enclave, link: Link, hypervisor: Peer) {
    let host = Host {
        card: hypervisor.card,
        fleet_ca: &enclave.config.fleet_ca,
    };
    tracing::info!("the hypervisor is there");
    let ended = hypervised::serve(link, &enclave.ruling, host).await;
    tracing::warn!(error = %ended, "the hypervisor is gone");
}

/// Speaks with the verifier, until the link is closed.
pub async fn serve_verifier(enclave: &Enclave, link: Link) {
    let Enclave {
        config,
        ruling,
        held,
        ..
    } = enclave;
    let ended = policing::serve(link, &config.verifier, &config.authors, ruling, held).await;
    tracing::warn!(error = %ended, "the verifier is gone");
}
