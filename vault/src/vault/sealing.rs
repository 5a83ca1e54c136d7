//! The sealing key, rotated: on demand, and once a year.

use std::sync::PoisonError;

use bartizan_attestation::keys::{VaultReply, VaultRequest};

use super::{Operation, Outcome, Vault, store};
use crate::boot::{AfterCard, Reached};

impl Vault {
    /// Performs an operation: all but the rotation of the sealing key go on beside one another.
    pub(super) fn perform(&self, operation: &Operation<'_>, request: VaultRequest) -> Outcome {
        match request {
            VaultRequest::RotateSealing => {
                return self.alone(|| operation.perform(request));
            }
            // What is asked of every vault a few times a day.
            VaultRequest::RotateTlsClient { .. } | VaultRequest::RotateTlsServer { .. } => {
                self.rotate_if_due(operation);
            }
            _ => {}
        }
        let _beside = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        operation.perform(request)
    }

    fn rotate_if_due(&self, operation: &Operation<'_>) {
        if operation.boot.reached::<AfterCard>().is_err()
            || operation.read().is_sealing_fresh(operation.now)
        {
            return;
        }
        let rotated = self.alone(|| operation.write().rotate_sealing_if_due(operation.now));
        if let Err(error) = rotated {
            tracing::error!(%error, "the sealing key is not rotated; it is tried again with the next TLS key");
        }
    }

    /// While no operation is under way.
    fn alone<T>(&self, rotate: impl FnOnce() -> T) -> T {
        let _alone = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        rotate()
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
