//! The serving side.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::error::ChannelError;
use crate::identity::{Current, Identity};
use crate::settings::{VERSIONS, provider, roots};

/// Accepts TLS 1.3 connections. A client may show a certificate of the fleet's or none; a wrong one ends the handshake.
#[derive(Clone)]
pub struct Acceptor(pub(crate) TlsAcceptor);

/// A client's chain, leaf first (DER), valid for client authentication under one of the fleet's CAs.
pub type PeerChain = Vec<Vec<u8>>;

impl Acceptor {
    /// An acceptor. `current` is asked at each handshake for the identity to show; clients may be any of these CAs' (DER).
    pub fn new(
        current: impl Fn() -> Arc<Identity> + Send + Sync + 'static,
        cas: &[impl AsRef<[u8]>],
    ) -> Result<Self, ChannelError> {
        let clients = WebPkiClientVerifier::builder_with_provider(roots(cas)?, provider())
            .allow_unauthenticated()
            .build()?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(ChannelError::Settings)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(Current(current)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Performs the handshake. The caller sets a deadline.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, Option<PeerChain>), ChannelError> {
        let stream = self
            .0
            .accept(stream)
            .await
            .map_err(ChannelError::Handshake)?;
        let chain = stream.get_ref().1.peer_certificates();
        let chain = chain.map(|chain| chain.iter().map(|der| der.to_vec()).collect());
        Ok((TlsStream::Server(stream), chain))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}
