//! What every back end must do.

#[path = "cases/keys.rs"]
mod keys;
#[path = "cases/losses.rs"]
mod losses;
#[path = "cases/registers.rs"]
mod registers;
#[path = "cases/sealing.rs"]
mod sealing;
#[path = "cases/succession.rs"]
mod succession;

use std::sync::Arc;

use bartizan_attestation::keys::Purpose;
use bartizan_vault::backend::{Backend, BackendError, Encoding, NewKey, StoredKey};

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    (
        "every_purpose_signs_both_ways",
        keys::every_purpose_signs_both_ways,
    ),
    (
        "a_key_signs_after_a_restart",
        keys::a_key_signs_after_a_restart,
    ),
    (
        "another_purpose_is_refused",
        keys::another_purpose_is_refused,
    ),
    (
        "an_altered_blob_is_refused",
        keys::an_altered_blob_is_refused,
    ),
    (
        "a_blob_of_another_key_is_refused",
        keys::a_blob_of_another_key_is_refused,
    ),
    (
        "a_key_of_another_store_is_refused",
        keys::a_key_of_another_store_is_refused,
    ),
    ("a_destroyed_key_is_gone", keys::a_destroyed_key_is_gone),
    ("tags_are_one_stores_own", keys::tags_are_one_stores_own),
    ("eight_threads_sign", keys::eight_threads_sign),
    (
        "a_vault_goes_on_when_its_sealing_key_is_rotated",
        sealing::a_vault_goes_on_when_its_sealing_key_is_rotated,
    ),
    (
        "an_identity_is_succeeded_while_it_certifies",
        succession::an_identity_is_succeeded_while_it_certifies,
    ),
    ("registers_are_extended", registers::registers_are_extended),
    (
        "registers_are_each_their_own",
        registers::registers_are_each_their_own,
    ),
    (
        "a_device_that_comes_back_is_found",
        losses::a_device_that_comes_back_is_found,
    ),
    (
        "a_device_that_was_away_unseen_is_found",
        losses::a_device_that_was_away_unseen_is_found,
    ),
];

pub(crate) const PURPOSES: [Purpose; 5] = [
    Purpose::FleetCa,
    Purpose::CardIdentity,
    Purpose::TlsServer,
    Purpose::TlsClient,
    Purpose::Token,
];

/// A key, as the keyring keeps it.
struct Key {
    purpose: Purpose,
    id: [u8; 32],
    made: NewKey,
}

impl Key {
    fn make(backend: &Arc<dyn Backend>, purpose: Purpose) -> Self {
        let made = backend.generate(purpose).unwrap();
        let id = made.public.sha256();
        Self { purpose, id, made }
    }

    fn stored(&self) -> StoredKey<'_> {
        StoredKey {
            id: &self.id,
            blob: &self.made.blob,
        }
    }

    fn sign(&self, backend: &Arc<dyn Backend>) -> Result<(), BackendError> {
        self.sign_as(backend, self.purpose, &self.stored())
    }

    /// Signs, and has the signature verified by this key.
    fn sign_as(
        &self,
        backend: &Arc<dyn Backend>,
        purpose: Purpose,
        stored: &StoredKey<'_>,
    ) -> Result<(), BackendError> {
        let fixed = backend.sign(purpose, stored, b"message", Encoding::Fixed)?;
        assert!(self.made.public.verify(b"message", &fixed).is_ok());
        let der = backend.sign(purpose, stored, b"message", Encoding::Der)?;
        assert!(self.made.public.verify_der(b"message", &der).is_ok());
        assert!(self.made.public.verify_der(b"massage", &der).is_err());
        Ok(())
    }
}

fn is_sealed(result: &Result<(), BackendError>) -> bool {
    matches!(result, Err(BackendError::Sealed { .. }))
}
