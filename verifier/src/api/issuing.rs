//! Having the vault certify a card, and what it answers.

use axum::http::StatusCode;
use bartizan_attestation::certificates::{ChainError, LinkedCa, Usage, VerifiedCertificate};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultRequest;

use super::documents::EnrolledDocument;
use crate::problem::ProblemType;
use crate::service::Service;
use crate::vault::VaultError;

/// A card was not certified.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// The vault did not certify the key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What the vault issued is no certificate of a host.
    #[error(
        "the vault issued a certificate that is no host's: {0}; see that vault and verifier are of one version"
    )]
    Issued(#[from] ChainError),
}

impl ProblemType for IssueError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Vault(error) => error.kind(),
            Self::Issued(_) => ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Vault(error) => error.retry_after_s(),
            Self::Issued(_) => None,
        }
    }
}

/// What the vault issued for a card.
pub(super) struct Issued {
    pub(super) card: CardId,
    pub(super) verified: VerifiedCertificate,
    /// The fleet's CAs, of which the present one certified it.
    pub(super) known: LinkedCa,
    /// DER.
    pub(super) certificate: Vec<u8>,
}

pub(super) async fn issue(service: &Service, request: VaultRequest) -> Result<Issued, IssueError> {
    let chain = service.vault.certificates(request).await?;
    let (known, verified) = service.anchors.issued(&chain, Usage::Card).await?;
    // Who trusts the present CA from now on is to know this server.
    if let Err(error) = service.tls.follow().await {
        tracing::error!(%error, "the TLS server's certificate is a former fleet CA's still; trying again");
    }
    Ok(Issued {
        // INVARIANT: a card's chain is its own certificate, which names its card.
        card: verified.card.ok_or(ChainError::AlternativeName)?,
        verified,
        known,
        certificate: chain.into_iter().next().unwrap_or_default(),
    })
}

/// What a host gets that the present one of these CAs certified.
pub(super) fn document(known: &LinkedCa, certificate: Vec<u8>) -> EnrolledDocument {
    EnrolledDocument {
        chain: vec![certificate.into()],
        fleet_ca: known.ca().der().to_vec().into(),
    }
}
