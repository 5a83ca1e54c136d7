//! The `tpm2` back end: keys are made in a TPM 2.0, which alone can use them; a host's own keys only in the boot that
//! they were made in.
//!
//! | attack | answer |
//! |---|---|
//! | a blob is carried to another machine | a TPM loads only what it made itself (`fixedTPM`, `fixedParent`) |
//! | a blob of one purpose is used for another | each purpose has its own parent key: the TPM does not load it |
//! | another boot uses the host's keys | they are bound to the PCRs of register and host (`PolicyPCR`), see [`crate::backend::BackendError::WrongBoot`] |
//! | a register is set back | PCRs that software can reset are refused by the configuration |
//! | the TPM ends and starts anew | it is connected to anew, once for each request; its registers are zero, so that bound keys stay shut |
//!
//! Whoever may speak to the TPM may have it make tags and quotes, too: access to the device is the vault's user's alone.

mod blob;
mod certify;
mod connection;
mod endorsement;
mod handles;
mod keys;
mod leftovers;
mod pcrs;
mod quote;
mod ready;
mod saved;
mod sealing;
mod store_key;
mod templates;

use std::sync::{Mutex, PoisonError};

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::keys::{Purpose, TpmCertified, TpmDescription, VaultKind};
use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::traits::Marshall;

use crate::backend::{
    Activated, Backend, BackendError, Device, DeviceError, Encoding, Generation, NewKey,
    NextSealing, Quote, StoredKey,
};
use crate::config::TpmConfig;
use crate::registers::{Register, RegisterValues};
use crate::signature::Signature;
use blob::Blob;
use connection::{Connection, Way};
pub use endorsement::Endorsement;
use pcrs::Pcrs;
use saved::SavedKeys;

/// Keys of a TPM.
#[derive(Debug)]
pub struct Tpm2 {
    connection: Connection,
    pcrs: Pcrs,
    saved: SavedKeys,
    /// Which key the store's tag is by.
    sealing: Mutex<Generation>,
}

impl Tpm2 {
    /// Connects to the TPM, which must have a SHA-384 bank with the registers' PCRs.
    pub fn open(config: &TpmConfig) -> Result<Self, BackendError> {
        let pcrs = Pcrs::new(config);
        let connection = Connection::new(config.tcti.clone());
        connection.run(|context| pcrs.read(context))?;
        Ok(Self {
            connection,
            pcrs,
            saved: SavedKeys::default(),
            sealing: Mutex::new(Generation([0; 32])),
        })
    }
}

impl Tpm2 {
    fn tag(&self, generation: Generation, store: &[u8]) -> Result<[u8; 32], BackendError> {
        self.connection
            .run(|context| store_key::tag(context, generation, store))
    }

    fn load(
        &self,
        context: &mut Context,
        purpose: Purpose,
        key: &StoredKey<'_>,
        blob: &Blob,
    ) -> Result<KeyHandle, BackendError> {
        if let Some(loaded) = self.saved.load(context, purpose, key) {
            return Ok(loaded);
        }
        let loaded = keys::load(context, purpose, blob)?;
        self.saved.save(context, purpose, key, loaded);
        Ok(loaded)
    }

    /// Signs with what is ready, or is made so. After a failure nothing is.
    fn sign_once(
        &self,
        way: &mut Way,
        purpose: Purpose,
        key: &StoredKey<'_>,
        blob: &Blob,
        message: &[u8],
    ) -> Result<Signature, BackendError> {
        let Way { context, ready } = way;
        let loaded = ready.key(context, purpose, key, |context| {
            self.load(context, purpose, key, blob)
        });
        let signed = loaded.and_then(|loaded| {
            let session = ready.session(context)?;
            keys::sign(context, &self.pcrs, purpose, loaded, session, message)
        });
        if signed.is_err() {
            ready.flush(context);
        }
        signed
    }

    fn sign_over(
        &self,
        way: &mut Way,
        purpose: Purpose,
        key: &StoredKey<'_>,
        blob: &Blob,
        message: &[u8],
    ) -> Result<Signature, BackendError> {
        let had_something = !way.ready.is_empty();
        let mut signed = self.sign_once(way, purpose, key, blob, message);
        if signed.is_err() && had_something {
            // It may have become stale.
            signed = self.sign_once(way, purpose, key, blob, message);
        }
        let was_loaded = !matches!(signed, Err(BackendError::Sealed { .. }));
        if signed.is_err() && was_loaded {
            keys::check_policy(&mut way.context, &self.pcrs, purpose, blob)?;
        }
        signed
    }
}

impl Backend for Tpm2 {
    fn kind(&self) -> VaultKind {
        VaultKind::Tpm2
    }

    fn generate(&self, purpose: Purpose) -> Result<NewKey, BackendError> {
        self.connection
            .run(|context| keys::generate(context, &self.pcrs, purpose))
    }

    fn sign(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        message: &[u8],
        encoding: Encoding,
    ) -> Result<Vec<u8>, BackendError> {
        let blob = Blob::open(purpose, key)?;
        let signature =
            (self.connection).run_over(|way| self.sign_over(way, purpose, key, &blob, message))?;
        signature
            .confirmed(&blob.key, message, encoding)
            .ok_or(BackendError::Sign)
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        let generation = *self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        self.tag(generation, store)
    }

    fn resume_sealing(&self, generation: Generation) {
        *self.sealing.lock().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    fn next_sealing(
        &self,
        generation: Generation,
    ) -> Result<Box<dyn NextSealing + '_>, BackendError> {
        Ok(Box::new(sealing::Next::of(self, generation)))
    }

    fn destroy(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<(), BackendError> {
        // The blob was all else that there was of it.
        self.saved.forget(purpose, key.id);
        self.connection.forget(purpose, key.id);
        Ok(())
    }

    fn extend(&self, register: Register, digest: &Sha384) -> Result<(), BackendError> {
        self.connection
            .run_once(|context| self.pcrs.extend(context, register, digest))
    }

    fn registers(&self) -> Result<RegisterValues, BackendError> {
        self.connection.run(|context| self.pcrs.read(context))
    }

    fn describe_tpm(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
    ) -> Result<Option<TpmDescription>, BackendError> {
        let blob = Blob::open(purpose, key)?;
        let endorsement = self.endorsement()?;
        Ok(Some(TpmDescription {
            // Without the length before it.
            endorsement: endorsement
                .public
                .into_iter()
                .skip(2)
                .collect::<Vec<_>>()
                .into(),
            certificate: endorsement.certificate.map(Into::into),
            card: blob.public.marshall()?.into(),
            attestation: self.attestation()?.into(),
        }))
    }

    fn activate(
        &self,
        object: Activated<'_>,
        credential: &[u8],
        secret: &[u8],
    ) -> Result<Option<Vec<u8>>, BackendError> {
        self.activate_credential(object, credential, secret)
            .map(Some)
    }

    fn certify(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        nonce: &[u8],
    ) -> Result<Option<TpmCertified>, BackendError> {
        check_nonce(nonce)?;
        let blob = Blob::open(purpose, key)?;
        self.connection
            .run(|context| {
                let loaded = self.load(context, purpose, key, &blob)?;
                certify::certify(context, loaded, &blob, nonce)
            })
            .map(Some)
    }

    fn quote(&self, nonce: &[u8]) -> Result<Option<Quote>, BackendError> {
        check_nonce(nonce)?;
        self.connection
            .run(|context| quote::quote(context, &self.pcrs, nonce))
            .map(Some)
    }
}

fn check_nonce(nonce: &[u8]) -> Result<(), BackendError> {
    if nonce.is_empty() || nonce.len() > Quote::MAX_NONCE {
        let length = nonce.len();
        return Err(BackendError::Nonce { length });
    }
    Ok(())
}

impl From<tss_esapi::Error> for BackendError {
    fn from(source: tss_esapi::Error) -> Self {
        Self::Refused {
            device: Device::Tpm,
            source: source.into(),
        }
    }
}

fn unexpected() -> BackendError {
    BackendError::Refused {
        device: Device::Tpm,
        source: DeviceError::Answer,
    }
}
