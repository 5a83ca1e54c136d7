//! What a host's vault keeps for the state of its enclave: the key that the state is sealed with, and which sealed state is the newest.

use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::boot::Sha384;

/// What the enclave seals its state with: AES-256-GCM. It goes from the vault by the card's process to the enclave, is in no file but
/// wrapped, and is overwritten when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct StateKey(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl StateKey {
    /// Of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for StateKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for StateKey {}

/// Without its bytes: replies are logged where they are unexpected.
impl std::fmt::Debug for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateKey")
    }
}

/// The newest sealed state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct StateRecord {
    /// Its number: the first is 1, each next one is one more.
    #[n(0)]
    pub number: u64,
    /// SHA-384 over the sealed bytes.
    #[n(1)]
    pub digest: Sha384,
}

impl StateRecord {
    /// Largest sealed state, in bytes: a set of policies as large as the stream to the verifier carries (4 MiB), what was seen of 4096
    /// policies, and some.
    pub const MAX_SEALED: usize = 6 << 20;

    /// The number of the state that comes after `record`.
    #[must_use]
    pub fn next_after(record: Option<&Self>) -> Option<u64> {
        record.map_or(0, |record| record.number).checked_add(1)
    }
}
