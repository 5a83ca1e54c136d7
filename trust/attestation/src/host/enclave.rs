//! Enclave → card, inside the TLS link between the two. The card opens that link, the enclave asks.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::CardRefusal;
use crate::certificates::Lineage;
use crate::keys::{EnclaveChains, StateKey, StateRecord};

/// Largest frame either way, in bytes: a sealed state, and some.
pub const ENCLAVE_FRAME: usize = StateRecord::MAX_SEALED + (64 << 10);

/// What the enclave asks its card.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ForCard {
    /// The fleet's CAs. Answer: [`FromCard::FleetCas`].
    #[n(3)]
    FleetCas,
    /// Certify the keys that the enclave made in itself; again, before the certificates end. The link shows possession of the TLS
    /// key, its request too. Answer: [`FromCard::Certified`].
    #[n(0)]
    Certify {
        /// Of the TLS key: PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        tls: Vec<u8>,
        /// Of the evidence key: PKCS#10, DER.
        #[cbor(n(1), with = "minicbor::bytes")]
        evidence: Vec<u8>,
    },
    /// What is there of this enclave's state. Asked after [`ForCard::Certify`] on the same link, as what follows. Answer:
    /// [`FromCard::State`].
    #[n(1)]
    LoadState,
    /// Keep the next state, the newest from then on; the same once more changes nothing. Answer: [`FromCard::Stored`], once it is on disk
    /// and the vault has recorded it.
    #[n(2)]
    StoreState {
        /// Its number: one more than the newest's.
        #[n(0)]
        number: u64,
        /// Sealed, at most [`StateRecord::MAX_SEALED`] bytes.
        #[cbor(n(1), with = "minicbor::bytes")]
        sealed: Vec<u8>,
    },
}

/// What the card answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FromCard {
    /// The fleet's CAs, as the card knows them.
    #[n(4)]
    FleetCas(#[n(0)] Lineage),
    /// The certificates.
    #[n(0)]
    Certified(#[n(0)] EnclaveChains),
    /// Refused.
    #[n(1)]
    Refused(#[n(0)] CardRefusal),
    /// The state.
    #[n(2)]
    State(#[n(0)] StoredState),
    /// It is kept.
    #[n(3)]
    Stored,
}

/// What a card has of the state of its enclave.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct StoredState {
    /// What it is sealed with.
    #[n(0)]
    pub key: StateKey,
    /// The newest, by the vault's word; none where there never was one, or it was reset.
    #[n(1)]
    pub record: Option<StateRecord>,
    /// The sealed state that fits the record; none where there is no such, which is lost then.
    #[n(2)]
    pub sealed: Option<ByteVec>,
}
