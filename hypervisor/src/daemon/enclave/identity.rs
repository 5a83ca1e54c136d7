//! The handshake with an enclave: who this process is, and who the enclave is.
//!
//! The key is made for one link and stays in memory: the card certifies it for as long as a certificate of a host's lasts, and nobody
//! else is shown it. Who is at the other end must have the key of an enclave that the card of this very host has certified.

use std::sync::Arc;

use bartizan_attestation::certificates::{ChainError, Subject, Usage, verify_chain};
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use bartizan_attestation::host::{CardReply, CardRequest};
use bartizan_channel::{
    ChannelError, EnclaveConnector, HandshakeSignError, Identity, LocalSigner, TlsStream,
};
use tokio::net::UnixStream;

use crate::clock::unix_now;
use crate::daemon::link::LinkError;
use crate::daemon::registry::Registry;

/// There is no link to an enclave.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// Something did not come in time.
    #[error("it did not shake hands in time")]
    TimedOut,
    /// No key could be made.
    #[error("no key for the link: {0}")]
    Key(#[from] KeyError),
    /// The key cannot be used.
    #[error(transparent)]
    Signer(#[from] HandshakeSignError),
    /// The card has not certified the key, or does not say who this host is.
    #[error(transparent)]
    Card(#[from] LinkError),
    /// No channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It is no enclave of the fleet's.
    #[error("who answers is no enclave: {0}")]
    Certificate(#[from] ChainError),
    /// It is another host's.
    #[error("who answers is not this host's enclave: its certificate is of {0}")]
    OtherHost(Subject),
}

/// A link to the enclave.
pub(super) struct Opened {
    /// The channel.
    pub(super) stream: TlsStream<UnixStream>,
    /// The last second of the certificate that the enclave showed, since the Unix epoch.
    pub(super) not_after: u64,
}

/// Opens the channel.
pub(super) async fn connect(
    stream: UnixStream,
    registry: &Registry,
) -> Result<Opened, HandshakeError> {
    let key = EphemeralKey::generate()?;
    let request = CardRequest::CertifyHypervisor { csr: key.csr()? };
    let CardReply::Chain(chain) = registry.card.ask(&request).await? else {
        return Err(LinkError::Unexpected("card").into());
    };
    let own = registry.card.host().await?;
    registry.anchors.learn(&own.fleet_cas).await;
    let signer = LocalSigner::from_pkcs8(key.pkcs8_der())?;
    let chain = chain.into_iter().map(|der| der.to_vec()).collect();
    let identity = Arc::new(Identity::new(chain, Arc::new(signer)));
    let ca = registry.anchors.ca();
    let connector = EnclaveConnector::certified(move || Arc::clone(&identity), &[ca.der()])?;
    let (stream, shown) = connector.connect(stream).await?;
    let enclave = verify_chain(&shown, &ca, unix_now(), Usage::EnclaveTls)?;
    match enclave.subject {
        Subject::Enclave(card) if card == own.card => Ok(Opened {
            stream,
            not_after: enclave.not_after,
        }),
        other => Err(HandshakeError::OtherHost(other)),
    }
}
