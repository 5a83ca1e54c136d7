//! TLS handshakes signed by the vault.

use bartizan_channel::{HandshakeSignError, HandshakeSigner};

use super::Vault;

/// Signs handshakes with the key of one certificate.
#[derive(Debug)]
pub struct VaultSigner {
    vault: Vault,
    certificate: Vec<u8>,
}

impl VaultSigner {
    /// A signer for the key of `certificate` (DER).
    #[must_use]
    pub fn new(vault: Vault, certificate: Vec<u8>) -> Self {
        Self { vault, certificate }
    }
}

impl HandshakeSigner for VaultSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, HandshakeSignError> {
        // The handshake runs on a thread that serves others too: tell the runtime to move them.
        tokio::task::block_in_place(|| self.vault.sign_tls(&self.certificate, message)).map_err(
            |error| {
                tracing::error!(%error, "the vault did not sign a TLS handshake");
                HandshakeSignError
            },
        )
    }
}
