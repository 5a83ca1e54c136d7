//! Another key of the store's tag. Private keys are the token's own objects, sealed by nobody else.

use bartizan_attestation::keys::Purpose;

use super::{Pkcs11, store_key};
use crate::backend::{Backend, BackendError, Generation, NextSealing, StoredKey};

pub(super) struct Next<'t> {
    token: &'t Pkcs11,
    former: Generation,
    generation: Generation,
}

impl<'t> Next<'t> {
    pub(super) fn make(token: &'t Pkcs11, generation: Generation) -> Result<Self, BackendError> {
        (token.connection).run(|session| store_key::make(session, generation))?;
        Ok(Self {
            token,
            former: token.present_sealing(),
            generation,
        })
    }
}

impl NextSealing for Next<'_> {
    fn reseal(&self, _: Purpose, key: &StoredKey<'_>) -> Result<Vec<u8>, BackendError> {
        Ok(key.blob.to_vec())
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        self.token.tag(self.generation, store)
    }

    fn take_over(self: Box<Self>) -> Result<(), BackendError> {
        self.token.resume_sealing(self.generation);
        let connection = &self.token.connection;
        connection.run(|session| store_key::destroy(session, self.former))
    }
}
