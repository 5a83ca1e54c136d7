//! Reporting in at the verifier, after the boot and from then on: a copy of this host's vault is noticed by it
//! ([`bartizan_attestation::vault_counter`]).

use std::time::Duration;

use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::keys::{VaultReply, VaultRequest};
use bartizan_attestation::vault_counter::Machine;

use crate::service::Card;
use crate::vault::VaultError;

/// How often: as often as the TLS key is made anew.
const PERIOD: Duration = Duration::from_secs(1800);
/// How long to wait after a failure at first; then twice that, and so on up to [`PERIOD`].
const RETRY: Duration = Duration::from_secs(5);

/// Reports in for ever.
pub async fn keep_reported(card: &Card, machine: &Machine) {
    let mut retry = RETRY;
    loop {
        let wait = match report(card, machine).await {
            Ok(()) => {
                retry = RETRY;
                PERIOD
            }
            Err(refusal) => {
                tracing::error!(%refusal, "this host could not report in; trying again");
                let wait = retry;
                retry = PERIOD.min(retry * 2);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Reports in once. A crash at any point, or an answer that is lost, is made good by the next time: vault and verifier repeat
/// themselves.
async fn report(card: &Card, machine: &Machine) -> Result<(), CardRefusal> {
    let machine = machine.clone();
    let request = VaultRequest::StateCounter { machine };
    let VaultReply::Statement(statement) = card.vault.ask_async(request).await? else {
        return Err(VaultError::Unexpected.into());
    };
    let (counter, mark) = card.verifier.report_in(&statement).await?;
    let request = VaultRequest::TakeMark { counter, mark };
    match card.vault.ask_async(request).await? {
        VaultReply::Done => {
            tracing::info!(counter, "reported in");
            Ok(())
        }
        _ => Err(VaultError::Unexpected.into()),
    }
}
