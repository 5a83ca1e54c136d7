//! The fleet CA, as this verifier's vault has it, and the former ones that it is linked to. It can be replaced while the verifier
//! serves: each request takes what is known when it begins, and keeps that to its end.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use bartizan_attestation::certificates::{
    ChainError, FleetCa, LineageError, LinkedCa, Usage, VerifiedCertificate, verify_chain,
};

use crate::clock::now_s;
use crate::problem::ProblemType;
use crate::vault::{Vault, VaultError};

/// How often the vault is asked. It may replace the CA after the link on which it was ordered to has failed.
const PERIOD: Duration = Duration::from_secs(60);

/// The trust anchor of this verifier.
#[derive(Debug)]
pub struct Anchors {
    vault: Vault,
    /// The present CA, pinned, which leads to the former ones for as long as what they certified may be valid.
    known: RwLock<LinkedCa>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// The fleet's CAs could not be learnt or replaced.
#[derive(Debug, thiserror::Error)]
pub enum AnchorsError {
    /// The vault did not do what was asked.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The vault has none yet.
    #[error("the vault has no fleet CA; run `bartizan-verifier init` first")]
    None,
    /// It was replaced, and what took its place is not taken here.
    #[error(
        "the fleet CA was replaced, and the new one is not taken here yet: {0}; do not order another one; see that the clocks of this machine and its vault's agree"
    )]
    NotTaken(#[source] Box<AnchorsError>),
    /// The vault's do not belong together, or not to the one that was known.
    #[error("the vault's fleet CAs are refused: {0}; see that this is the vault that it was")]
    Lineage(#[from] LineageError),
}

impl ProblemType for AnchorsError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Vault(error) => error.kind(),
            Self::NotTaken(_) => ("fleet-ca-not-taken", StatusCode::SERVICE_UNAVAILABLE),
            Self::None | Self::Lineage(_) => {
                ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Vault(error) => error.retry_after_s(),
            Self::NotTaken(_) | Self::None | Self::Lineage(_) => None,
        }
    }
}

impl Anchors {
    /// Asks the vault.
    pub async fn open(vault: Vault) -> Result<Self, AnchorsError> {
        let lineage = vault.fleet_cas().await?.ok_or(AnchorsError::None)?;
        Ok(Self {
            vault,
            known: RwLock::new(LinkedCa::present(lineage)?),
            one_at_a_time: tokio::sync::Mutex::default(),
        })
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> LinkedCa {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// The present CA, and what it leads to.
    #[must_use]
    pub fn ca(&self) -> Arc<FleetCa> {
        Arc::clone(self.known().ca())
    }

    /// Has the vault replace the CA by an administrator's order, and takes the new one.
    pub async fn rotate(&self, order: Vec<u8>) -> Result<LinkedCa, AnchorsError> {
        let _turn = self.one_at_a_time.lock().await;
        let former = self.ca().sha256();
        let rotated = self.vault.rotate_fleet_ca(order).await;
        // Whatever was answered: a link that failed does not tell whether there is a new one.
        let read = self.read().await;
        match (rotated, read) {
            // What is new is by another order, which nobody here had heard of.
            (Err(refused @ VaultError::Refused(_)), _) => Err(refused.into()),
            (Err(error), _) if self.ca().sha256() == former => Err(error.into()),
            (Ok(_), Err(error)) => Err(AnchorsError::NotTaken(Box::new(error))),
            (_, read) => read.map(|()| self.known()),
        }
    }

    /// Verifies what the vault certified just now. Where that is by a CA that is not known, it was replaced: it is learnt first.
    pub async fn issued(
        &self,
        chain: &[Vec<u8>],
        usage: Usage,
    ) -> Result<(LinkedCa, VerifiedCertificate), ChainError> {
        let known = self.known();
        match verify_chain(chain, known.ca(), now_s(), usage) {
            Err(ChainError::ForeignCa) => {}
            verified => return Ok((known, verified?)),
        }
        self.refresh().await;
        let known = self.known();
        let verified = verify_chain(chain, known.ca(), now_s(), usage)?;
        Ok((known, verified))
    }

    /// Asks the vault again: it may have replaced the CA without that this was heard. A rotation that is under way is waited for.
    pub async fn refresh(&self) {
        if let Err(error) = self.learn().await {
            tracing::error!(%error, "the fleet's CAs are not known anew");
        }
    }

    /// The same where nothing can be done without.
    pub async fn learn(&self) -> Result<(), AnchorsError> {
        let _turn = self.one_at_a_time.lock().await;
        self.read().await
    }

    async fn read(&self) -> Result<(), AnchorsError> {
        let lineage = self.vault.fleet_cas().await?.ok_or(AnchorsError::None)?;
        if let Some(known) = self.known().rolled(&lineage, now_s())? {
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        }
        Ok(())
    }
}

/// Asks the vault for ever, so that what it did unheard is known before it matters.
pub async fn keep_known(anchors: &Anchors) {
    loop {
        tokio::time::sleep(PERIOD).await;
        anchors.refresh().await;
    }
}
