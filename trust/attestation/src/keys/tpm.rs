//! What a vault shows of the TPM that its keys are in.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::boot::Sha384;

/// A TPM's signed word on its PCRs ([`crate::tpm::verify_quote`]).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TpmQuote {
    /// TPMS_ATTEST.
    #[n(0)]
    pub attested: ByteVec,
    /// TPMT_SIGNATURE.
    #[n(1)]
    pub signature: ByteVec,
    /// What the quoted PCRs hold.
    #[n(4)]
    pub pcrs: BTreeMap<u8, Sha384>,
}

/// A TPM's signed word that it holds an object ([`crate::tpm::verify_certified`]).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TpmCertified {
    /// The object: TPMT_PUBLIC.
    #[n(0)]
    pub public: ByteVec,
    /// TPMS_ATTEST.
    #[n(1)]
    pub attested: ByteVec,
    /// TPMT_SIGNATURE.
    #[n(2)]
    pub signature: ByteVec,
}

/// An object of a TPM that a secret can be meant for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum TpmObject {
    /// The card identity key.
    #[n(0)]
    CardIdentity,
    /// The key that signs quotes.
    #[n(1)]
    Attestation,
}

/// What a TPM shows of itself; each key as TPMT_PUBLIC ([`crate::tpm::PublicArea`]).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TpmDescription {
    /// The endorsement key.
    #[n(0)]
    pub endorsement: ByteVec,
    /// Its certificate, DER, with whatever follows it in the TPM's memory.
    #[n(1)]
    pub certificate: Option<ByteVec>,
    /// The card identity key.
    #[n(2)]
    pub card: ByteVec,
    /// The key that signs quotes.
    #[n(3)]
    pub attestation: ByteVec,
}
