//! What the hypervisor may ask of the card.

use std::sync::{Arc, PoisonError, RwLock};

use bartizan_attestation::certificates::{ChainError, LineageError, Subject, Usage};
use bartizan_attestation::host::{CardRefusal, CardReply, CardRequest, HostDescription};
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{Chain, Purpose, VaultKind, VaultReply, VaultRequest};
use tokio::sync::Notify;

use crate::anchors::Anchors;
use crate::boots::{Boots, BootsError};
use crate::config::Config;
use crate::enclave::{EnclaveStatus, KeptState};
use crate::identity::TlsIdentity;
use crate::operators::Operators;
use crate::vault::{Vault, VaultError};
use crate::verifier::Verifier;

/// Lifetime of a report key's certificate in seconds; the measurer renews at half.
const REPORT_KEY_S: u64 = 3600;
/// How long a certificate of the hypervisor for its link to the enclave is valid, in seconds.
const HYPERVISOR_S: u64 = 3600;
/// Lifetime of a guest key's certificate in seconds.
const GUEST_KEY_S: u64 = 24 * 3600;

/// The enrolled card.
pub struct Card {
    pub(crate) id: CardId,
    kind: VaultKind,
    /// Replaced when another comes after it.
    chain: RwLock<Chain>,
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) vault: Vault,
    boots: Boots,
    operators: Operators,
    pub(crate) enclave_state: KeptState,
    pub(crate) verifier: Arc<Verifier>,
    /// Whether another key comes after the present one when its certificate is half gone.
    pub(crate) rotates_identity: bool,
    /// How its enclave is.
    pub(crate) enclave: EnclaveStatus,
    /// Held while another certificate is got.
    pub(crate) succeeding: tokio::sync::Mutex<()>,
    /// Told where that failed, so that what was begun is finished soon.
    pub(crate) unfinished: Notify,
}

/// The card cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The vault did not answer.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The host has no identity.
    #[error("this host is not enrolled; run `bartizan host enroll`")]
    NotEnrolled,
    /// The certificate in the vault is no card's.
    #[error("this host's certificate is refused: {0}; see that card and vault are of one version")]
    Identity(#[from] ChainError),
    /// The fleet CAs that the vault has kept are unusable.
    #[error("the fleet CA that this host trusts cannot be used: {0}; see its vault's store")]
    FleetCa(#[from] LineageError),
    /// The boot counters are unusable.
    #[error(transparent)]
    Boots(#[from] BootsError),
}

impl Card {
    /// The card that was enrolled with this configuration's vault.
    pub fn open(config: &Config) -> Result<Self, CardError> {
        let vault = Vault::new(config.vault_socket.clone());
        let VaultReply::Description { kind, keys, .. } = vault.ask(&VaultRequest::Describe)? else {
            return Err(VaultError::Unexpected.into());
        };
        let identity = keys
            .into_iter()
            .rfind(|key| key.purpose == Purpose::CardIdentity && !key.chain.is_empty())
            .ok_or(CardError::NotEnrolled)?;
        let certificate = identity.chain.first().ok_or(CardError::NotEnrolled)?;
        let subject = Subject::in_certificate(certificate, Usage::Card)?;
        let id = subject.card().ok_or(CardError::NotEnrolled)?;
        let VaultReply::FleetCas(kept) = vault.ask(&VaultRequest::DescribeFleetCas)? else {
            return Err(VaultError::Unexpected.into());
        };
        let kept = kept.ok_or(CardError::NotEnrolled)?;
        let anchors = Arc::new(Anchors::new(vault.clone(), kept)?);
        let tls = Arc::new(TlsIdentity::new(vault.clone()));
        let verifier = Verifier::new(config.verifier.endpoint(), tls, Arc::clone(&anchors));
        let boots = Boots::open(&config.state_dir)?;
        Ok(Self {
            id,
            kind,
            chain: RwLock::new(identity.chain),
            anchors,
            enclave_state: KeptState::new(&config.state_dir, vault.clone()),
            vault,
            boots,
            operators: Operators::open(&config.state_dir, config.launch_grace_s),
            verifier: Arc::new(verifier),
            rotates_identity: config.rotate_identity,
            enclave: EnclaveStatus::default(),
            succeeding: tokio::sync::Mutex::default(),
            unfinished: Notify::new(),
        })
    }

    /// The way to the verifier.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier)
    }

    /// Refuses an operator who is revoked, or of whom that cannot be learnt.
    pub(crate) async fn check_operator(&self, operator: &str) -> Result<(), CardRefusal> {
        self.operators.check(&self.verifier, operator).await
    }

    /// The card identity's chain.
    pub(crate) fn chain(&self) -> Chain {
        let chain = self.chain.read().unwrap_or_else(PoisonError::into_inner);
        chain.clone()
    }

    pub(crate) fn replace_chain(&self, chain: Chain) {
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = chain;
    }

    /// Answers one request.
    pub async fn answer(&self, request: CardRequest) -> CardReply {
        match self.perform(request).await {
            Ok(reply) => reply,
            Err(refusal) => {
                tracing::warn!(%refusal, "refused");
                CardReply::Refused(refusal)
            }
        }
    }

    async fn perform(&self, request: CardRequest) -> Result<CardReply, CardRefusal> {
        match request {
            CardRequest::Describe => self.describe().await.map(CardReply::Host),
            CardRequest::NextBoot { vm, operator } => {
                self.check_operator(&operator).await?;
                let counted = tokio::task::block_in_place(|| self.boots.next(vm));
                let boot = counted.map_err(|error| CardRefusal::State(error.to_string()))?;
                Ok(CardReply::Guest(GuestIdentity {
                    card: self.id,
                    vm,
                    boot,
                }))
            }
            CardRequest::CertifyReportKey {
                csr,
                guest,
                launch_measurement,
            } => {
                self.check_boot(&guest)?;
                let lifetime_s = REPORT_KEY_S;
                let request = VaultRequest::CertifyReportKey {
                    csr,
                    guest,
                    launch_measurement,
                    lifetime_s,
                };
                Ok(CardReply::Chain(self.vault.chain_async(request).await?))
            }
            CardRequest::CertifyHypervisor { csr } => {
                let lifetime_s = HYPERVISOR_S;
                let request = VaultRequest::CertifyHypervisor { csr, lifetime_s };
                Ok(CardReply::Chain(self.vault.chain_async(request).await?))
            }
            CardRequest::CertifyGuestKey {
                csr,
                guest,
                launch_measurement,
            } => {
                self.check_boot(&guest)?;
                let lifetime_s = GUEST_KEY_S;
                let request = VaultRequest::CertifyGuestKey {
                    csr,
                    guest,
                    launch_measurement,
                    lifetime_s,
                };
                Ok(CardReply::Chain(self.vault.chain_async(request).await?))
            }
            CardRequest::Nonce { guest } => self.verifier.nonce(guest).await.map(CardReply::Nonce),
            CardRequest::Judge {
                report,
                guest_chain,
            } => self
                .verifier
                .judge(&report, &guest_chain)
                .await
                .map(CardReply::Judged),
        }
    }

    /// Only the latest boot of a VM gets keys: an older identity is gone with its boot.
    fn check_boot(&self, guest: &GuestIdentity) -> Result<(), CardRefusal> {
        let state = |error: BootsError| CardRefusal::State(error.to_string());
        let latest = tokio::task::block_in_place(|| self.boots.latest(guest.vm)).map_err(state)?;
        if guest.boot == latest {
            return Ok(());
        }
        Err(CardRefusal::VaultRefused(format!(
            "boot {} of this VM is not its latest, {latest}",
            guest.boot
        )))
    }

    async fn describe(&self) -> Result<HostDescription, CardRefusal> {
        // A guest can enrol while the verifier is away; without certificates it cannot verify a token yet.
        let token_certificates = self.verifier.token_certificates_if_there().await?;
        Ok(HostDescription {
            card: self.id,
            vault: self.kind,
            chain: self.chain(),
            fleet_cas: (**self.anchors.known().lineage()).clone(),
            token_certificates,
        })
    }
}
