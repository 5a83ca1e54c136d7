//! Having the vault certify a card, and what it answers.

use axum::http::StatusCode;
use bartizan_attestation::certificates::{ChainError, Usage, VerifiedCertificate, verify_chain};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::VaultRequest;

use super::documents::EnrolledDocument;
use crate::clock::now_s;
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
    /// DER.
    pub(super) certificate: Vec<u8>,
}

pub(super) async fn issue(service: &Service, request: VaultRequest) -> Result<Issued, IssueError> {
    let chain = service.vault.certificates(request).await?;
    let verified = verify_chain(&chain, &service.fleet_ca, now_s(), Usage::Card)?;
    Ok(Issued {
        // INVARIANT: a card's chain is its own certificate, which names its card.
        card: verified.card.ok_or(ChainError::AlternativeName)?,
        verified,
        certificate: chain.into_iter().next().unwrap_or_default(),
    })
}

/// What a host gets that was certified.
pub(super) fn document(service: &Service, certificate: Vec<u8>) -> EnrolledDocument {
    EnrolledDocument {
        chain: vec![certificate.into()],
        fleet_ca: service.fleet_ca.der().to_vec().into(),
    }
}
