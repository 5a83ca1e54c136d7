//! What the store keeps for the state of the host's enclave: the secret that its key comes from, and which sealed state is the newest.
//!
//! The secret is drawn once, and wrapped by a key that the back end derives from its sealing key: a copy of the store's file gives nobody
//! the enclave's state. A rotation of the sealing key wraps it anew, as it seals private keys anew; the secret stays, so that a state
//! that was sealed before is opened afterwards.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{EnclaveState, StateKey, StateRecord};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::{Keyring, KeyringError};
use crate::backend::BackendError;

/// What the store's own tag is never made over: that begins otherwise.
const WRAPPING: &[u8] = b"bartizan-vault enclave state\0";
/// What the enclave's key is for (RFC 5869 section 3.2).
const INFO: &[u8] = b"bartizan enclave state 1\0";
/// Length of the nonce in front of what is wrapped.
const NONCE: usize = 12;

/// What is kept. Another card's, of an identity before, counts for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Kept {
    #[n(0)]
    card: CardId,
    /// Nonce, ciphertext, tag.
    #[n(1)]
    secret: ByteVec,
    #[n(2)]
    record: Option<StateRecord>,
}

type Secret = Zeroizing<[u8; 32]>;

impl Keyring {
    /// The key of this card's enclave, and its newest state. The secret is on disk before anything is sealed by it.
    pub(crate) fn enclave_state(&mut self, card: CardId) -> Result<EnclaveState, KeyringError> {
        let kept = match self.kept_of(card) {
            Some(kept) => kept.clone(),
            None => self.begin_enclave_state(card)?,
        };
        let secret = kept.secret(|label| self.backend.authenticate(label))?;
        Ok(EnclaveState {
            key: key(&secret, card)?,
            record: kept.record,
        })
    }

    /// The newest state of this card's enclave.
    pub(crate) fn newest_enclave_state(&self, card: CardId) -> Option<StateRecord> {
        self.kept_of(card)?.record
    }

    /// Keeps which state is the newest; says whether it is the one that comes next, or that one already.
    pub(crate) fn record_enclave_state(
        &mut self,
        card: CardId,
        record: StateRecord,
    ) -> Result<bool, KeyringError> {
        let Some(kept) = self.kept_of(card) else {
            return Ok(false);
        };
        if kept.record == Some(record) {
            return Ok(true);
        }
        if StateRecord::next_after(kept.record.as_ref()) != Some(record.number) {
            return Ok(false);
        }
        let record = Some(record);
        self.keep(Kept {
            record,
            ..kept.clone()
        })?;
        Ok(true)
    }

    /// Begins anew: no state, and another secret, so that no state of before is opened again. Where there is none yet, nothing is to be
    /// forgotten: an enclave that runs may be about to seal its first by the secret that there is, which would be taken and never opened.
    pub(crate) fn reset_enclave_state(&mut self, card: CardId) -> Result<(), KeyringError> {
        if self.kept_of(card).is_some_and(|kept| kept.record.is_none()) {
            return Ok(());
        }
        self.begin_enclave_state(card).map(drop)
    }

    fn begin_enclave_state(&mut self, card: CardId) -> Result<Kept, KeyringError> {
        let mut secret = Secret::default();
        SystemRandom::new()
            .fill(&mut *secret)
            .map_err(|_| KeyringError::Random)?;
        let kept = Kept {
            card,
            secret: wrap(card, &secret, |label| self.backend.authenticate(label))?,
            record: None,
        };
        self.keep(kept.clone())?;
        Ok(kept)
    }

    /// Keys stay as they are.
    fn keep(&mut self, kept: Kept) -> Result<(), KeyringError> {
        let mut contents = self.contents.clone();
        contents.enclave_state = Some(kept);
        self.replace(contents)
    }

    fn kept_of(&self, card: CardId) -> Option<&Kept> {
        let kept = self.contents.enclave_state.as_ref();
        kept.filter(|kept| kept.card == card)
    }
}

impl Kept {
    /// The same secret, wrapped by another sealing key.
    pub(super) fn rewrap(
        &mut self,
        former: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
        next: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
    ) -> Result<(), KeyringError> {
        let secret = self.secret(former)?;
        self.secret = wrap(self.card, &secret, next)?;
        Ok(())
    }

    fn secret(
        &self,
        derive: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
    ) -> Result<Secret, KeyringError> {
        let unopened = || KeyringError::EnclaveState;
        let (nonce, wrapped) = self.secret.split_at_checked(NONCE).ok_or_else(unopened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unopened())?;
        let mut bytes = Zeroizing::new(wrapped.to_vec());
        let opened =
            wrapping_key(self.card, derive)?.open_in_place(nonce, aad(self.card), &mut bytes);
        let opened: &[u8] = opened.map_err(|_| unopened())?;
        let secret: [u8; 32] = opened.try_into().map_err(|_| unopened())?;
        Ok(secret.into())
    }
}

fn wrap(
    card: CardId,
    secret: &Secret,
    derive: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
) -> Result<ByteVec, KeyringError> {
    let mut sealed = Zeroizing::new(secret.to_vec());
    let nonce = wrapping_key(card, derive)?
        .seal_in_place_append_tag(aad(card), &mut *sealed)
        .map_err(|_| KeyringError::EnclaveState)?;
    Ok([nonce.as_ref().as_slice(), &sealed].concat().into())
}

/// HMAC-SHA-256 by the sealing key is a pseudorandom function: over a label of its own it makes a key.
fn wrapping_key(
    card: CardId,
    derive: impl Fn(&[u8]) -> Result<[u8; 32], BackendError>,
) -> Result<RandomizedNonceKey, KeyringError> {
    let key = Zeroizing::new(derive(&aad_bytes(card))?);
    RandomizedNonceKey::new(&AES_256_GCM, &*key).map_err(|_| KeyringError::EnclaveState)
}

fn aad(card: CardId) -> Aad<Vec<u8>> {
    Aad::from(aad_bytes(card))
}

fn aad_bytes(card: CardId) -> Vec<u8> {
    [WRAPPING, &card.0].concat()
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn key(secret: &Secret, card: CardId) -> Result<StateKey, KeyringError> {
    let prk = Prk::new_less_safe(HKDF_SHA256, &**secret);
    let mut key = Secret::default();
    let info = [INFO, &card.0];
    let expanded = prk
        .expand(&info, Length)
        .and_then(|okm| okm.fill(&mut *key));
    expanded.map_err(|_| KeyringError::EnclaveState)?;
    Ok(StateKey::new(*key))
}
