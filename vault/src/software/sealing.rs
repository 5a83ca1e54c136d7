//! Another root key.

use std::sync::{Arc, PoisonError};

use bartizan_attestation::keys::Purpose;

use super::{RootKey, Software, seal, tag};
use crate::backend::{BackendError, Generation, NextSealing, StoredKey};

pub(super) struct Next<'s> {
    software: &'s Software,
    root: RootKey,
}

impl<'s> Next<'s> {
    pub(super) fn make(
        software: &'s Software,
        generation: Generation,
    ) -> Result<Self, BackendError> {
        let root = software.root().next(&generation.0);
        Ok(Self {
            software,
            root: root.map_err(BackendError::Sealing)?,
        })
    }
}

impl NextSealing for Next<'_> {
    fn reseal(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<Vec<u8>, BackendError> {
        let pkcs8 = self.software.unseal(purpose, key)?;
        seal(&self.root, purpose, key.id, &pkcs8)
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        tag(&self.root, store)
    }

    fn take_over(self: Box<Self>) -> Result<(), BackendError> {
        let root = Arc::new(self.root);
        let mut present = (self.software.root.write()).unwrap_or_else(PoisonError::into_inner);
        *present = Arc::clone(&root);
        drop(present);
        self.software.opened.forget_all();
        root.take_over().map_err(BackendError::Sealing)
    }
}
