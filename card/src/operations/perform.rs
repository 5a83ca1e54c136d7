//! Doing what was authorised and written down.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{
    BootShown, EnclaveShown, KeysShown, LogPage, Observation, ObserveFlows, OperationReply,
    OperatorReply, OperatorRequest, RenewedCertificate,
};
use bartizan_attestation::keys::{NextKey, Purpose, VaultReply, VaultRequest};
use bartizan_attestation::operation::log::Outcome;
use bartizan_attestation::operation::{
    FlowFilter, Operation, OperationRefusal, RotatableKey, SignedOrder,
};

use super::log::Begun;
use super::shown::Shown;
use super::{Operations, hypervisor, verifier};
use crate::succession::{self, SuccessionError};
use crate::vault::VaultError;

/// How long the boot may take to be handed in and judged: of each way there and back the verifier's deadline is 20 s.
const ATTESTING: Duration = Duration::from_secs(120);
/// How long the hypervisor may take to say whether it has a link to the enclave.
const SHOWING: Duration = Duration::from_secs(10);

impl Operations {
    /// Does it. That it is written down is what `_begun` proves.
    pub(super) async fn perform(
        &self,
        signed: &SignedOrder,
        _begun: &Begun,
        shown: &mut Shown<'_>,
    ) -> Result<OperationReply, OperationRefusal> {
        let request = match signed.order().operation.clone() {
            Operation::RunGuest { record } => OperatorRequest::Run { record },
            Operation::ListGuests => OperatorRequest::List,
            Operation::ShowGuest { vm } => OperatorRequest::Show { vm },
            Operation::StopGuest { vm, force } => OperatorRequest::Stop { vm, force },
            Operation::ReadConsole { vm, max } => OperatorRequest::Console { vm, max },
            Operation::RotateKeys {
                key: RotatableKey::TlsClient,
            } => return self.rotate_tls_client().await,
            Operation::RotateKeys {
                key: RotatableKey::Sealing,
            } => return self.rotate_sealing().await,
            Operation::RotateKeys {
                key: RotatableKey::Card,
            } => return self.rotate_identity().await,
            Operation::RotateReportKey { vm } => OperatorRequest::RotateReportKey { vm },
            Operation::AttestHost => return self.attest_host().await,
            Operation::RenewCertificate => return self.renew_certificate().await,
            Operation::ResetEnclaveState => return self.reset_enclave_state().await,
            Operation::ShowBoot => return self.show_boot().await,
            Operation::ShowEnclave => return self.show_enclave().await,
            Operation::ListKeys => return self.list_keys().await,
            Operation::KeyHistory => return self.key_history().await,
            Operation::ListFlows { vm, filter } => {
                return self.observe(vm, filter, Observation::List, shown).await;
            }
            Operation::WatchFlows {
                vm,
                filter,
                seconds,
            } => {
                let what = Observation::Watch(seconds);
                return self.observe(vm, filter, what, shown).await;
            }
            Operation::CaptureFlows { vm, filter, limits } => {
                let what = Observation::Capture(limits);
                return self.observe(vm, filter, what, shown).await;
            }
            Operation::ReadLog { from, most } => {
                let page = tokio::task::block_in_place(|| self.log.read(from, most));
                return page.map(|(head, records)| OperationReply::Log(LogPage { head, records }));
            }
        };
        hypervisor::ask(&self.hypervisor, &request)
            .await
            .map(OperationReply::Guests)
    }

    async fn observe(
        &self,
        vm: String,
        filter: FlowFilter,
        what: Observation,
        shown: &mut Shown<'_>,
    ) -> Result<OperationReply, OperationRefusal> {
        let request = OperatorRequest::ObserveFlows(ObserveFlows { vm, filter, what });
        let last = hypervisor::observe(&self.hypervisor, &request, shown).await?;
        Ok(OperationReply::Guests(last))
    }

    async fn attest_host(&self) -> Result<OperationReply, OperationRefusal> {
        let not_attested = OperationRefusal::NotAttested;
        match tokio::time::timeout(ATTESTING, self.card.verifier.attest()).await {
            Ok(Ok(Some(accepted))) => Ok(OperationReply::Attested(accepted)),
            Ok(Ok(None)) => Err(not_attested(
                "its vault demands no measured boot, so that none was measured".into(),
            )),
            Ok(Err(refusal)) => Err(verifier::begun(refusal, not_attested)),
            Err(_) => {
                let why = format!("nothing has come of it in {} s", ATTESTING.as_secs());
                Err(OperationRefusal::VerifierAway(why))
            }
        }
    }

    async fn show_boot(&self) -> Result<OperationReply, OperationRefusal> {
        let vault = &self.card.vault;
        let boot = vault.ask_async(VaultRequest::DescribeBoot).await;
        let VaultReply::Boot(boot) = boot.map_err(|error| not_told(&error))? else {
            return Err(not_told(&VaultError::Unexpected));
        };
        let described = vault.ask_async(VaultRequest::Describe).await;
        let VaultReply::Description { keys, .. } = described.map_err(|error| not_told(&error))?
        else {
            return Err(not_told(&VaultError::Unexpected));
        };
        let tls = keys
            .into_iter()
            .rfind(|key| key.purpose == Purpose::TlsClient);
        let chain = tls.map(|key| key.chain).unwrap_or_default();
        Ok(OperationReply::Boot(BootShown { boot, chain }))
    }

    async fn show_enclave(&self) -> Result<OperationReply, OperationRefusal> {
        let boot = self.card.vault.ask_async(VaultRequest::DescribeBoot).await;
        let VaultReply::Boot(boot) = boot.map_err(|error| not_told(&error))? else {
            return Err(not_told(&VaultError::Unexpected));
        };
        let asking = hypervisor::ask(&self.hypervisor, &OperatorRequest::ShowEnclave);
        // One that is away is a part of the answer.
        let link = match tokio::time::timeout(SHOWING, asking).await {
            Ok(Ok(OperatorReply::Enclave(link))) => Some(link),
            _ => None,
        };
        let enclave = &self.card.enclave;
        Ok(OperationReply::Enclave(EnclaveShown {
            boot,
            certified: enclave.last_certified(),
            link: enclave.has_link(),
            forwarded: enclave.is_forwarded(),
            machine: enclave.machine(),
            hypervisor: link,
            card: self.card.id,
        }))
    }

    async fn list_keys(&self) -> Result<OperationReply, OperationRefusal> {
        let described = self.card.vault.ask_async(VaultRequest::Describe).await;
        match described.map_err(|error| not_told(&error))? {
            VaultReply::Description { kind, keys, .. } => {
                Ok(OperationReply::Keys(KeysShown { vault: kind, keys }))
            }
            _ => Err(not_told(&VaultError::Unexpected)),
        }
    }

    async fn key_history(&self) -> Result<OperationReply, OperationRefusal> {
        let told = self.card.vault.ask_async(VaultRequest::History).await;
        match told.map_err(|error| not_told(&error))? {
            VaultReply::History(events) => Ok(OperationReply::KeyHistory(events)),
            _ => Err(not_told(&VaultError::Unexpected)),
        }
    }

    async fn renew_certificate(&self) -> Result<OperationReply, OperationRefusal> {
        let done = succession::succeed(&self.card, NextKey::Same).await;
        match done {
            Ok(new) => Ok(OperationReply::Renewed(RenewedCertificate {
                key: new.public_key.sha256().into(),
                not_after: new.not_after,
            })),
            Err(SuccessionError::Vault(error @ VaultError::Unanswered { .. })) => {
                Err(OperationRefusal::RenewalUnknown(error.to_string()))
            }
            Err(SuccessionError::Vault(error)) if error.is_away() => Err(not_told(&error)),
            Err(SuccessionError::Refused(refusal)) => {
                Err(verifier::begun(refusal, OperationRefusal::NotRenewed))
            }
            Err(error) => Err(OperationRefusal::NotRenewed(error.to_string())),
        }
    }

    async fn rotate_identity(&self) -> Result<OperationReply, OperationRefusal> {
        let done = succession::succeed(&self.card, NextKey::New).await;
        done.map(|_| OperationReply::Done)
            .map_err(|error| match error {
                SuccessionError::Begun(why) => match *why {
                    SuccessionError::Vault(VaultError::Unanswered { .. }) => {
                        OperationRefusal::RotationUnknown(why.to_string())
                    }
                    _ => OperationRefusal::RotationBegun(why.to_string()),
                },
                SuccessionError::Vault(error) => not_rotated(&error),
                error => OperationRefusal::NotRotated(error.to_string()),
            })
    }

    async fn reset_enclave_state(&self) -> Result<OperationReply, OperationRefusal> {
        let card = Arc::clone(&self.card);
        let reset = tokio::task::spawn_blocking(move || card.enclave_state.reset()).await;
        let not_reset = |why: String| Err(OperationRefusal::NotReset(why));
        match reset {
            // What is ordered next finds an enclave that takes it.
            Ok(Ok(())) => {
                self.card.enclave_state.taken_up().await;
                Ok(OperationReply::Done)
            }
            Ok(Err(error @ VaultError::Unanswered { .. })) => {
                Err(OperationRefusal::ResetUnknown(error.to_string()))
            }
            Ok(Err(error)) if error.is_away() => Err(not_told(&error)),
            Ok(Err(error)) => not_reset(error.to_string()),
            Err(error) => not_reset(error.to_string()),
        }
    }

    async fn rotate_tls_client(&self) -> Result<OperationReply, OperationRefusal> {
        let verifier = Arc::clone(&self.card.verifier);
        let rotated = tokio::task::spawn_blocking(move || verifier.rotate()).await;
        match rotated {
            Ok(Ok(())) => Ok(OperationReply::Done),
            Ok(Err(error)) => Err(not_rotated(&error)),
            Err(error) => Err(OperationRefusal::NotRotated(error.to_string())),
        }
    }

    async fn rotate_sealing(&self) -> Result<OperationReply, OperationRefusal> {
        match self.card.vault.ask_async(VaultRequest::RotateSealing).await {
            Ok(VaultReply::Done) => Ok(OperationReply::Done),
            Ok(_) => Err(not_told(&VaultError::Unexpected)),
            Err(error) => Err(not_rotated(&error)),
        }
    }
}

fn not_rotated(error: &VaultError) -> OperationRefusal {
    let why = error.to_string();
    match error {
        VaultError::Unanswered { .. } => OperationRefusal::RotationUnknown(why),
        _ if error.is_away() => OperationRefusal::VaultAway(why),
        _ => OperationRefusal::NotRotated(why),
    }
}

fn not_told(error: &VaultError) -> OperationRefusal {
    OperationRefusal::VaultAway(error.to_string())
}

/// What the log says of the end of an operation.
pub(super) fn outcome(
    done: &Result<OperationReply, OperationRefusal>,
    shown: &Shown<'_>,
) -> Outcome {
    match done {
        // What was shown cannot be taken back.
        Ok(OperationReply::Guests(OperatorReply::Refused(refusal))) if shown.has_begun() => {
            Outcome::unknown(&format!("{shown}, then: {refusal}"))
        }
        Ok(OperationReply::Refused(refusal)) | Err(refusal) if shown.has_begun() => {
            Outcome::unknown(&format!("{shown}, then: {refusal}"))
        }
        Ok(OperationReply::Guests(OperatorReply::Refused(refusal))) => {
            Outcome::refused(&refusal.to_string())
        }
        Ok(OperationReply::Refused(refusal)) | Err(refusal) => match refusal {
            OperationRefusal::HypervisorAway(_)
            | OperationRefusal::RotationUnknown(_)
            | OperationRefusal::RotationBegun(_)
            | OperationRefusal::VerifierAway(_)
            | OperationRefusal::VerifierUnclear(_)
            | OperationRefusal::RenewalUnknown(_)
            | OperationRefusal::ResetUnknown(_) => Outcome::unknown(&refusal.to_string()),
            refusal => Outcome::refused(&refusal.to_string()),
        },
        Ok(_) if shown.has_begun() => Outcome::shown(&shown.to_string()),
        Ok(
            OperationReply::Host(_)
            | OperationReply::Guests(_)
            | OperationReply::Done
            | OperationReply::Log(_)
            | OperationReply::Boot(_)
            | OperationReply::Keys(_)
            | OperationReply::KeyHistory(_)
            | OperationReply::Attested(_)
            | OperationReply::Renewed(_)
            | OperationReply::Enclave(_),
        ) => Outcome::Done,
    }
}
