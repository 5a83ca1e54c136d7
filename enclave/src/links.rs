//! What is done on the links to the hypervisor and to the verifier. Both are kept open by [`crate::run`]: when one of these returns,
//! its link is opened again.

use bartizan_channel::TlsStream;
use bartizan_local::port::stream::Connection;
use tokio::io::{AsyncReadExt, sink};

use crate::machine::Device;
use crate::peers::Peer;
use crate::run::Enclave;

/// A link, as TLS has it.
pub type Link = TlsStream<Connection<Device>>;

/// Serves the hypervisor of this host, until the link is closed. Nothing is answered yet: what comes is read, so that the end is seen.
pub async fn serve_hypervisor(_enclave: &Enclave, mut link: Link, _hypervisor: Peer) {
    let _ended = tokio::io::copy(&mut (&mut link).take(u64::MAX), &mut sink()).await;
}

/// Speaks with the verifier, until the link is closed. Nothing is said yet.
pub async fn serve_verifier(_enclave: &Enclave, mut link: Link) {
    let _ended = tokio::io::copy(&mut (&mut link).take(u64::MAX), &mut sink()).await;
}
