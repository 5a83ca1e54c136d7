//! Another key of the store's tag. Private keys are sealed by the TPM itself, under its own seed.

use bartizan_attestation::keys::Purpose;

use super::Tpm2;
use crate::backend::{Backend, BackendError, Generation, NextSealing, StoredKey};

pub(super) struct Next<'t> {
    tpm: &'t Tpm2,
    generation: Generation,
}

impl<'t> Next<'t> {
    pub(super) const fn of(tpm: &'t Tpm2, generation: Generation) -> Self {
        Self { tpm, generation }
    }
}

impl NextSealing for Next<'_> {
    fn reseal(&self, _: Purpose, key: &StoredKey<'_>) -> Result<Vec<u8>, BackendError> {
        Ok(key.blob.to_vec())
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        self.tpm.tag(self.generation, store)
    }

    fn take_over(self: Box<Self>) -> Result<(), BackendError> {
        self.tpm.resume_sealing(self.generation);
        Ok(())
    }
}
