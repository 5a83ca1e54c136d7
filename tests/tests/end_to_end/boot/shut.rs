//! What a stopped boot keeps shut: each key that its phase or a later one would have opened is tried.

use anyhow::{Result, bail, ensure};
use bartizan_attestation::boot::Phase;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::{VaultReply, VaultRequest};

use super::rig::{Rig, is_shut};

/// Whether a boot that is stopped had come as far as its vault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vault {
    /// It runs: whatever it must not do is asked of it.
    Runs,
    /// It was not started: nobody uses a key.
    NotStarted,
}

impl Rig {
    /// Whatever the phase, or one after it, opens is shut.
    pub(super) fn shut_after(&self, phase: Phase, vault: Vault, what: &str) -> Result<()> {
        let runs = self.launcher()?.daemon("bartizan-vault").process().is_ok();
        let serves = self.layout.path("run/vault/vault.sock").exists();
        match vault {
            Vault::Runs => ensure!(runs && serves, "{what}: the vault does not run"),
            Vault::NotStarted => {
                ensure!(!runs && !serves, "{what}: the vault runs");
                ensure!(phase == Phase::Card, "{what}: phase {phase} has a vault");
                return Ok(());
            }
        }
        if phase == Phase::Card {
            for request in [
                VaultRequest::CreateCardIdentity,
                VaultRequest::RotateTlsClient { lifetime_s: 60 },
            ] {
                match self.ask(&request)? {
                    VaultReply::Refused(refusal) if is_shut(&refusal) => {}
                    other => bail!("{what}: {other:?}"),
                }
            }
        }
        let shut = match self.certify_report_key()? {
            VaultReply::Refused(refusal) => is_shut(&refusal),
            _ => false,
        };
        ensure!(shut == (phase <= Phase::Hypervisor), "{what}: a report key");
        // These are the last phase's.
        for request in [
            VaultRequest::CertifyEnclave {
                tls: EphemeralKey::generate()?.csr()?,
                evidence: EphemeralKey::generate()?.csr()?,
                lifetime_s: 60,
            },
            VaultRequest::EnclaveState,
        ] {
            match self.ask(&request)? {
                VaultReply::Refused(refusal) if is_shut(&refusal) => {}
                other => bail!("{what}: the enclave gets {other:?}"),
            }
        }
        let described = self.vault_describes()?;
        let ended = usize::from(phase.number()) - 1;
        ensure!(
            described.phases.len() == ended,
            "{what}: {:?}",
            described.phases
        );
        ensure!(
            described.stopped.is_some(),
            "{what}: the vault does not know why"
        );
        Ok(())
    }
}
