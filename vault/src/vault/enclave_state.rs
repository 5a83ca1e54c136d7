//! The state of the host's enclave: what it is sealed with, and which one is the newest.

use bartizan_attestation::keys::{StateRecord, VaultRefusal, VaultReply};

use super::{Operation, Outcome, store};
use crate::boot::{AfterEnclave, Reached};

impl Operation<'_> {
    pub(super) fn enclave_state(&self, _open: Reached<AfterEnclave>) -> Outcome {
        let card = self.card()?;
        let state = self.write().enclave_state(card).map_err(store)?;
        Ok(VaultReply::EnclaveState(state))
    }

    /// Known attack: whoever may ask counts far ahead, so that no state of the enclave comes next any more. It is one step at a time;
    /// and who is the card's process can lose the state as well as spoil its number.
    pub(super) fn record_enclave_state(
        &self,
        _open: Reached<AfterEnclave>,
        record: StateRecord,
    ) -> Outcome {
        let card = self.card()?;
        let mut keyring = self.write();
        if keyring.record_enclave_state(card, record).map_err(store)? {
            return Ok(VaultReply::Done);
        }
        let newest = keyring.newest_enclave_state(card);
        Err(VaultRefusal::StateOrder {
            recorded: newest.map_or(0, |newest| newest.number),
            asked: record.number,
        })
    }

    pub(super) fn reset_enclave_state(&self, _open: Reached<AfterEnclave>) -> Outcome {
        let card = self.card()?;
        self.write().reset_enclave_state(card).map_err(store)?;
        tracing::warn!("the state of the enclave is forgotten");
        Ok(VaultReply::Done)
    }
}
