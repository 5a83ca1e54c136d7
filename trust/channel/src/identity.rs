//! What one side shows the other: a chain, and a signer that holds its key.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::CertificateDer;

use crate::signer::HandshakeSigner;

/// A chain and the signer of its leaf's key.
#[derive(Debug)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// An identity. `chain`: DER certificates, leaf first, without the fleet CA; then cross-certificates for who pins a former
    /// one, the newest first.
    #[must_use]
    pub fn new(chain: Vec<Vec<u8>>, signer: Arc<dyn HandshakeSigner>) -> Self {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Self(Arc::new(CertifiedKey::new(chain, Arc::new(Key(signer)))))
    }
}

/// Asks for the current identity at each handshake, so that a rotation needs no restart.
pub(crate) struct Current<F>(pub(crate) F);

impl<F> fmt::Debug for Current<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl<F: Fn() -> Arc<Identity> + Send + Sync> ResolvesServerCert for Current<F> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&(self.0)().0))
    }
}

impl<F: Fn() -> Arc<Identity> + Send + Sync> ResolvesClientCert for Current<F> {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&(self.0)().0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// rustls's view of a [`HandshakeSigner`].
#[derive(Clone, Debug)]
struct Key(Arc<dyn HandshakeSigner>);

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP384_SHA384)
            .then(|| Box::new(self.clone()) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0
            .sign(message)
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP384_SHA384
    }
}
