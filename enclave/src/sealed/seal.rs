//! Sealing: AES-256-GCM under a fresh random nonce (NIST SP 800-38D section 8.2.2), for one card and one number.
//!
//! ```text
//! 1 byte: version │ 12 bytes: nonce │ ciphertext │ 16 bytes: tag
//! ```
//!
//! A key seals as many states as a host has changes of its policies and commands, which the card paces: far from the 2^32 for which random
//! nonces are good.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{StateKey, StateRecord};

use super::{NoState, State};

const VERSION: u8 = 1;
const LABEL: &[u8] = b"bartizan enclave state\0";
/// Bytes before the ciphertext.
const HEAD: usize = 1 + NONCE;
const NONCE: usize = 12;

/// A state was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// No randomness, or the key is none.
    #[error("the state could not be sealed")]
    Failed,
    /// It would not be kept.
    #[error("a sealed state has {limit} bytes at most, this one has {size}", limit = StateRecord::MAX_SEALED)]
    TooLarge {
        /// What it has.
        size: usize,
    },
    /// The numbers are used up.
    #[error("there is no number left for another state")]
    Exhausted,
}

/// Bytes are no sealed state of this card and number.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// They are altered, another card's, of another number, or sealed by another key.
    #[error("it was altered, or is of another card, number or key")]
    Unopened,
    /// They are of a version that is not read here.
    #[error("it is of a version that is not read here")]
    Version,
    /// What was sealed is none.
    #[error(transparent)]
    State(#[from] NoState),
}

/// Seals a state.
pub fn seal(
    key: &StateKey,
    card: CardId,
    number: u64,
    state: &State,
) -> Result<Vec<u8>, SealError> {
    let mut sealed = state.encode();
    let nonce = aead(key)
        .and_then(|aead| {
            aead.seal_in_place_append_tag(aad(card, number), &mut sealed)
                .ok()
        })
        .ok_or(SealError::Failed)?;
    sealed.splice(
        ..0,
        [[VERSION].as_slice(), nonce.as_ref().as_slice()].concat(),
    );
    let size = sealed.len();
    if size > StateRecord::MAX_SEALED {
        return Err(SealError::TooLarge { size });
    }
    Ok(sealed)
}

/// Opens a state.
pub fn open(key: &StateKey, card: CardId, number: u64, sealed: &[u8]) -> Result<State, OpenError> {
    let (head, ciphertext) = sealed.split_at_checked(HEAD).ok_or(OpenError::Unopened)?;
    let (version, nonce) = head.split_at_checked(1).ok_or(OpenError::Unopened)?;
    if version != [VERSION] {
        return Err(OpenError::Version);
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Unopened)?;
    let mut bytes = ciphertext.to_vec();
    let aead = aead(key).ok_or(OpenError::Unopened)?;
    let opened = aead.open_in_place(nonce, aad(card, number), &mut bytes);
    let opened = opened.map_err(|_| OpenError::Unopened)?;
    Ok(State::decode(opened)?)
}

fn aead(key: &StateKey) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.bytes()).ok()
}

fn aad(card: CardId, number: u64) -> Aad<Vec<u8>> {
    let bound = [LABEL, &[VERSION], &card.0, &number.to_be_bytes()];
    Aad::from(bound.concat())
}

#[cfg(test)]
mod tests;
