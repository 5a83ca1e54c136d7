//! The connecting side.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::error::ChannelError;
use crate::identity::{Current, Identity};
use crate::settings::{VERSIONS, provider, roots};

/// Opens TLS 1.3 connections to servers of the fleet.
#[derive(Clone)]
pub struct Connector(pub(crate) TlsConnector);

impl Connector {
    /// A connector that shows a certificate; `current` is asked at each handshake which.
    pub fn authenticated(
        current: impl Fn() -> Arc<Identity> + Send + Sync + 'static,
        fleet_ca: &[u8],
    ) -> Result<Self, ChannelError> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(&[fleet_ca])?, provider()).build()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(ChannelError::Settings)?
            .with_webpki_verifier(verifier)
            .with_client_cert_resolver(Arc::new(Current(current)));
        Ok(Self::from(config))
    }

    /// A connector that shows none: enough for what is public.
    pub fn anonymous(fleet_ca: &[u8]) -> Result<Self, ChannelError> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(&[fleet_ca])?, provider()).build()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(ChannelError::Settings)?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        Ok(Self::from(config))
    }

    /// Performs the handshake with the server of this DNS name or IP address. The caller sets a deadline.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        server_name: &str,
        stream: S,
    ) -> Result<TlsStream<S>, ChannelError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| ChannelError::ServerName(server_name.to_owned()))?;
        let stream = self
            .0
            .connect(name, stream)
            .await
            .map_err(ChannelError::Handshake)?;
        Ok(TlsStream::Client(stream))
    }
}

impl From<ClientConfig> for Connector {
    fn from(mut config: ClientConfig) -> Self {
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Self(TlsConnector::from(Arc::new(config)))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
