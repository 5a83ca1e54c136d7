//! The connecting side of the links between an enclave and others of its host, on which the enclave is the one that accepts.
//!
//! A card certifies nobody for servers, since whatever it certified so could pass for the verifier ("server" is what a verifier's
//! name is looked for under). So the enclave shows a certificate for *clients*, as does whoever connects: the path is validated for
//! that purpose, and there is no name to be compared. *Who* it is, its caller judges, from the chain.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsStream;

use crate::acceptor::PeerChain;
use crate::connector::Connector;
use crate::error::ChannelError;
use crate::identity::{Current, Identity};
use crate::settings::{VERSIONS, provider, roots};

/// Never sent, never compared: rustls wants one.
const NO_NAME: &str = "enclave.invalid";

/// Opens TLS 1.3 connections to an enclave.
#[derive(Clone, Debug)]
pub struct EnclaveConnector(Connector);

impl EnclaveConnector {
    /// To one that is certified, by one of these CAs (DER). `current` is asked at each handshake which certificate to show.
    pub fn certified(
        current: impl Fn() -> Arc<Identity> + Send + Sync + 'static,
        cas: &[impl AsRef<[u8]>],
    ) -> Result<Self, ChannelError> {
        let path = WebPkiClientVerifier::builder_with_provider(roots(cas)?, provider()).build()?;
        Self::with(current, Arc::new(OfFleet(path)))
    }

    /// To one that may be certified or not yet: whatever certificate it shows is taken, but the handshake proves possession of that
    /// certificate's key. For the card alone, which gives the enclave its certificate.
    pub fn uncertified(
        current: impl Fn() -> Arc<Identity> + Send + Sync + 'static,
    ) -> Result<Self, ChannelError> {
        Self::with(current, Arc::new(Anybody(provider())))
    }

    fn with(
        current: impl Fn() -> Arc<Identity> + Send + Sync + 'static,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, ChannelError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(ChannelError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(Current(current)));
        config.enable_sni = false;
        Ok(Self(Connector::from(config)))
    }

    /// Performs the handshake, and answers the chain that the enclave shows, leaf first (DER). The caller sets a deadline.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, PeerChain), ChannelError> {
        let stream = self.0.connect(NO_NAME, stream).await?;
        let chain = match &stream {
            TlsStream::Client(stream) => stream.get_ref().1.peer_certificates(),
            TlsStream::Server(stream) => stream.get_ref().1.peer_certificates(),
        };
        let chain = chain.unwrap_or_default();
        let chain = chain.iter().map(|der| der.to_vec()).collect();
        Ok((stream, chain))
    }
}

/// One that has a path to the fleet's CAs as a client.
struct OfFleet(Arc<dyn ClientCertVerifier>);

impl fmt::Debug for OfFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfFleet")
    }
}

impl ServerCertVerifier for OfFleet {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        (self.0)
            .verify_client_cert(leaf, intermediates, now)
            .map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whoever has the key of the certificate that it shows.
struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
