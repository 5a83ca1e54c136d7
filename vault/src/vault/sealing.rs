//! The sealing key, rotated: on demand, and once a year.

use std::sync::PoisonError;

use bartizan_attestation::keys::{VaultReply, VaultRequest};

use super::{Operation, Outcome, Vault, store};
use crate::boot::{AfterCard, Reached};

impl Vault {
    /// Once a year, with what is asked of every vault a few times a day.
    pub(super) fn rotate_sealing_if_due(&self, operation: &Operation<'_>, request: &VaultRequest) {
        let regular = matches!(
            request,
            VaultRequest::RotateTlsClient { .. } | VaultRequest::RotateTlsServer { .. }
        );
        let open = operation.boot.reached::<AfterCard>().is_ok();
        if !regular || !open || operation.read().is_sealing_fresh(operation.now) {
            return;
        }
        let _alone = self
            .under_way
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = operation.write().rotate_sealing_if_due(operation.now) {
            tracing::error!(%error, "the sealing key is not rotated; it is tried again with the next TLS key");
        }
    }
}

impl Operation<'_> {
    pub(super) fn rotate_sealing(&self, _open: Reached<AfterCard>) -> Outcome {
        let rotated = self.write().rotate_sealing(self.now);
        rotated.map_err(store)?;
        tracing::warn!("the sealing key is rotated");
        Ok(VaultReply::Done)
    }
}
