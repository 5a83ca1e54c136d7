//! The `software` back end: private keys sealed with AES-256-GCM under a root key that lies in a file. Anybody who has
//! both files has the keys; that is why its certificates say "development".

mod opened;
mod root;
mod sealing;

use std::sync::{Arc, PoisonError, RwLock};

use opened::OpenedKeys;
pub use root::{RootKey, RootKeyError};

use aws_lc_rs::aead::{Aad, Nonce};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair,
};
use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::keys::{Purpose, VaultKind};
use zeroize::Zeroizing;

use crate::backend::{
    Backend, BackendError, Encoding, Generation, NewKey, NextSealing, StoredKey, curve, name,
};
use crate::registers::{Register, RegisterValues, VolatileRegisters};

/// Keys sealed under a root key.
#[derive(Debug)]
pub struct Software {
    /// Replaced when it is rotated.
    root: RwLock<Arc<RootKey>>,
    opened: OpenedKeys,
    registers: VolatileRegisters,
}

impl Software {
    /// A back end with this root key.
    pub fn new(root: RootKey) -> Self {
        Self {
            root: RwLock::new(Arc::new(root)),
            opened: OpenedKeys::default(),
            registers: VolatileRegisters::default(),
        }
    }

    /// Puts a root key that a rotation left in its place ([`RootKey::left_of`]).
    pub fn take_key_file(&self) -> Result<(), RootKeyError> {
        self.root().take_over()
    }

    fn root(&self) -> Arc<RootKey> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&root)
    }

    /// The private key (PKCS #8).
    fn unseal(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        let sealed = BackendError::Sealed { purpose };
        let (nonce, ciphertext) = key.blob.split_at_checked(NONCE).ok_or(sealed)?;
        let sealed = || BackendError::Sealed { purpose };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| sealed())?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        let root = self.root();
        let opened = root
            .aead()
            .open_in_place(nonce, bound_to(purpose, key.id), &mut bytes);
        let length = opened.map_err(|_| sealed())?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Length of the nonce in front of the ciphertext (NIST SP 800-38D section 5.2.1.1).
const NONCE: usize = 12;

impl Backend for Software {
    fn kind(&self) -> VaultKind {
        VaultKind::Software
    }

    fn generate(&self, purpose: Purpose) -> Result<NewKey, BackendError> {
        let algorithm = algorithm(curve(purpose), Encoding::Fixed);
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| BackendError::Generate)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref())
            .map_err(|_| BackendError::Generate)?;
        let public = PublicKey::from_point(curve(purpose), pair.public_key().as_ref())
            .map_err(|_| BackendError::Generate)?;
        let blob = seal(&self.root(), purpose, &public.sha256(), pkcs8.as_ref())?;
        Ok(NewKey { public, blob })
    }

    fn sign(
        &self,
        purpose: Purpose,
        key: &StoredKey<'_>,
        message: &[u8],
        encoding: Encoding,
    ) -> Result<Vec<u8>, BackendError> {
        let pair = self.opened.get(purpose, key, encoding, || {
            let pkcs8 = self.unseal(purpose, key)?;
            EcdsaKeyPair::from_pkcs8(algorithm(curve(purpose), encoding), &pkcs8)
                .map_err(|_| BackendError::Sealed { purpose })
        })?;
        let signature = pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| BackendError::Sign)?;
        Ok(signature.as_ref().to_vec())
    }

    fn authenticate(&self, store: &[u8]) -> Result<[u8; 32], BackendError> {
        tag(&self.root(), store)
    }

    fn next_sealing(
        &self,
        generation: Generation,
    ) -> Result<Box<dyn NextSealing + '_>, BackendError> {
        Ok(Box::new(sealing::Next::make(self, generation)?))
    }

    fn destroy(&self, purpose: Purpose, key: &StoredKey<'_>) -> Result<(), BackendError> {
        self.opened.forget(purpose, key.id);
        Ok(())
    }

    fn extend(&self, register: Register, digest: &Sha384) -> Result<(), BackendError> {
        self.registers.extend(register, digest);
        Ok(())
    }

    fn registers(&self) -> Result<RegisterValues, BackendError> {
        Ok(self.registers.values())
    }
}

/// A private key (PKCS #8), sealed: nonce, ciphertext, tag.
fn seal(
    root: &RootKey,
    purpose: Purpose,
    id: &[u8; 32],
    pkcs8: &[u8],
) -> Result<Vec<u8>, BackendError> {
    let mut sealed = Zeroizing::new(pkcs8.to_vec());
    let nonce = root
        .aead()
        .seal_in_place_append_tag(bound_to(purpose, id), &mut *sealed)
        .map_err(|_| BackendError::Generate)?;
    Ok([nonce.as_ref().as_slice(), &sealed].concat())
}

fn tag(root: &RootKey, store: &[u8]) -> Result<[u8; 32], BackendError> {
    hmac::sign(root.store(), store)
        .as_ref()
        .try_into()
        .map_err(|_| BackendError::Authenticate)
}

/// A sealed key opens only as what it was made for.
fn bound_to(purpose: Purpose, id: &[u8; 32]) -> Aad<Vec<u8>> {
    let purpose = name(purpose).as_bytes();
    Aad::from([purpose, b"/", id.as_slice()].concat())
}

const fn algorithm(curve: Curve, encoding: Encoding) -> &'static EcdsaSigningAlgorithm {
    match (curve, encoding) {
        (Curve::P256, Encoding::Fixed) => &ECDSA_P256_SHA256_FIXED_SIGNING,
        (Curve::P256, Encoding::Der) => &ECDSA_P256_SHA256_ASN1_SIGNING,
        (Curve::P384, Encoding::Fixed) => &ECDSA_P384_SHA384_FIXED_SIGNING,
        (Curve::P384, Encoding::Der) => &ECDSA_P384_SHA384_ASN1_SIGNING,
    }
}

#[cfg(test)]
mod tests;
