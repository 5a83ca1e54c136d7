//! Who signs handshakes. The key itself is elsewhere: in a vault, in an operator's file.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};

/// Signs TLS 1.3 handshakes with a P-384 key.
pub trait HandshakeSigner: Send + Sync + fmt::Debug {
    /// Signs the content of a CertificateVerify (RFC 8446 section 4.4.3): ecdsa_secp384r1_sha384, DER. May block.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, HandshakeSignError>;
}

/// The handshake could not be signed: the key's holder is away or refuses. It has logged why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handshake could not be signed")]
pub struct HandshakeSignError;

/// A key in this process's memory, as operators have.
pub struct LocalSigner(EcdsaKeyPair);

impl LocalSigner {
    /// A P-384 key from PKCS #8 DER.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, HandshakeSignError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8)
            .map(Self)
            .map_err(|_| HandshakeSignError)
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalSigner")
    }
}

impl HandshakeSigner for LocalSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, HandshakeSignError> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|_| HandshakeSignError)?;
        Ok(signature.as_ref().to_vec())
    }
}
