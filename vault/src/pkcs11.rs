//! The `pkcs11` back end: keys are made in a token and never leave it.
//!
//! | attack | answer |
//! |---|---|
//! | a key is read out or wrapped | keys that the token could give away are refused when made and when found in a session; such as may do more than sign, at every signature |
//! | a blob of one purpose is used for another | the blob names purpose and public key; the token's object must have both |
//! | another object is put in a key's place | every signature is verified with the record's public key before it leaves |
//! | a lost session, a token drawn and put back | everything is opened anew, once for each request |
//! | a PIN that was changed, tried until the token locks | it is not tried again |

mod connection;
mod found;
mod keys;
mod pin;
mod sealing;
mod sessions;
mod store_key;

use std::sync::{Mutex, PoisonError};

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::Curve;
use bartizan_attestation::digest::{hash, sha256};
use bartizan_attestation::keys::{Purpose, VaultKind};
use bartizan_attestation::measurement::HashAlgorithm;
use cryptoki::mechanism::Mechanism;

use crate::backend::{
    Backend, BackendError, Device, DeviceError, Encoding, Generation, NewKey, NextSealing,
    StoredKey, curve,
};
use crate::registers::{Register, RegisterValues, VolatileRegisters};
use crate::signature::Signature;
use connection::Connection;
pub use connection::{OpenError, TokenName};
pub use pin::{Pin, PinError};

/// Keys in a token.
#[derive(Debug)]
pub struct Pkcs11 {
    connection: Connection,
    registers: VolatileRegisters,
    /// Which key the store's tag is by.
    sealing: Mutex<Generation>,
}

impl Pkcs11 {
    /// Loads the module and logs in at the token.
    pub fn open(token: TokenName, pin: Pin) -> Result<Self, OpenError> {
        Ok(Self {
            connection: Connection::open(token, pin)?,
            registers: VolatileRegisters::default(),
            sealing: Mutex::new(Generation([0; 32])),
        })
    }

    fn present_sealing(&self) -> Generation {
        *self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self, generation: Generation, store: &[u8]) -> Result<[u8; 32], BackendError> {
        // Of the store's digest: tokens take little at once.
        let digest = sha256(store);
        self.connection
            .run(|session| store_key::tag(session, generation, &digest))
    }
}

impl Backend for Pkcs11 {
    fn kind(&self) -> VaultKind {
        VaultKind::Pkcs11
    }

    fn generate(&self, purpose: Purpose) -> Result<NewKey, BackendError> {
        self.connection
            .run(|session| keys::generate(session, purpose))
    }

    fn sign(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        message: &[u8],
        encoding: Encoding,
    ) -> Result<Vec<u8>, BackendError> {
        let public = keys::public(purpose, key)?;
        let digest = hash(algorithm(curve(purpose)), message).0;
        let fixed = self.connection.run_with_found(|opened| {
            let object = opened.found.key(&opened.session, purpose, key.id)?;
            opened
                .session
                .sign(&Mechanism::Ecdsa, object, &digest)
                .map_err(refused)
        })?;
        Signature::from_fixed(curve(purpose), fixed)
            .and_then(|made| made.confirmed(&public, message, encoding))
            .ok_or(BackendError::Sign)
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        self.tag(self.present_sealing(), store)
    }

    fn begin_sealing(&self, generation: Generation) -> Result<(), BackendError> {
        self.connection
            .run(|session| store_key::make(session, generation))?;
        self.resume_sealing(generation);
        Ok(())
    }

    fn resume_sealing(&self, generation: Generation) {
        *self.sealing.lock().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    fn next_sealing(
        &self,
        generation: Generation,
    ) -> Result<Box<dyn NextSealing + '_>, BackendError> {
        Ok(Box::new(sealing::Next::make(self, generation)?))
    }

    fn destroy(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<(), BackendError> {
        keys::public(purpose, key)?;
        self.connection
            .run(|session| keys::destroy(session, purpose, key.id))
    }

    fn extend(&self, register: Register, digest: &Sha384) -> Result<(), BackendError> {
        self.registers.extend(register, digest);
        Ok(())
    }

    fn registers(&self) -> Result<RegisterValues, BackendError> {
        Ok(self.registers.values())
    }
}

const fn algorithm(curve: Curve) -> HashAlgorithm {
    match curve {
        Curve::P256 => HashAlgorithm::Sha256,
        Curve::P384 => HashAlgorithm::Sha384,
    }
}

fn refused(error: cryptoki::error::Error) -> BackendError {
    BackendError::Refused {
        device: Device::Token,
        source: error.into(),
    }
}

fn unexpected() -> BackendError {
    BackendError::Refused {
        device: Device::Token,
        source: DeviceError::Answer,
    }
}
