//! What vaults answer.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

#[cfg(doc)]
use super::VaultRequest;
use super::{
    Chain, KeyEvent, Purpose, StateKey, StateRecord, TpmCertified, TpmDescription, TpmQuote,
    VaultKind, VaultRefusal,
};
use crate::boot::{Refusal, RegisterValues, Sha384};
use crate::certificates::Lineage;

/// What a vault answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum VaultReply {
    /// To [`VaultRequest::Describe`].
    #[n(0)]
    Description {
        /// The back end.
        #[n(0)]
        kind: VaultKind,
        /// Each key: purpose, SHA-256 of its SPKI, its chain (empty where none is installed yet).
        #[n(1)]
        keys: Vec<KeyDescription>,
        /// The fleet CA certificate, where known.
        #[n(2)]
        fleet_ca: Option<ByteVec>,
    },
    /// A chain, leaf first.
    #[n(1)]
    Certificates(#[n(0)] Chain),
    /// A PKCS#10 request, DER.
    #[n(2)]
    Csr(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A compact JWS.
    #[n(3)]
    Token(#[n(0)] String),
    /// A signature, DER ECDSA (as TLS wants it).
    #[n(4)]
    Signature(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Refused.
    #[n(5)]
    Refused(#[n(0)] VaultRefusal),
    /// To [`VaultRequest::DescribeBoot`].
    #[n(6)]
    Boot(#[n(0)] BootDescription),
    /// To [`VaultRequest::DescribeTpm`]; none where the keys are in no TPM.
    #[n(7)]
    Tpm(#[n(0)] Option<TpmDescription>),
    /// What was encrypted.
    #[n(8)]
    Secret(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// To [`VaultRequest::Quote`]; none where the registers are in no TPM.
    #[n(9)]
    Quote(#[n(0)] Option<TpmQuote>),
    /// To [`VaultRequest::History`]: the oldest first. Of each kind of key the last [`VaultReply::EVENTS_OF_A_KIND`] are remembered.
    #[n(20)]
    History(#[n(0)] Vec<KeyEvent>),
    /// Done.
    #[n(21)]
    Done,
    /// A [signed statement](crate::vault_counter::Statement).
    #[n(30)]
    Statement(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// To [`VaultRequest::DescribeFleetCas`] and [`VaultRequest::RotateFleetCa`]; none where there is no fleet CA yet.
    #[n(40)]
    FleetCas(#[n(0)] Option<Lineage>),
    /// To [`VaultRequest::BeginSuccession`].
    #[n(50)]
    Succession(#[n(0)] BegunSuccession),
    /// To [`VaultRequest::CertifyEnclave`].
    #[n(80)]
    Enclave(#[n(0)] EnclaveChains),
    /// To [`VaultRequest::EnclaveState`].
    #[n(81)]
    EnclaveState(#[n(0)] EnclaveState),
}

impl VaultReply {
    /// Most events that are remembered of one kind of key.
    pub const EVENTS_OF_A_KIND: usize = 256;
}

/// How a host was booted, as its vault was told.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct BootDescription {
    /// Whether the vault demands a measured boot; without one nothing below says anything.
    #[n(0)]
    pub measured: bool,
    /// The event log, CEL-CBOR ([`crate::boot::EventLog`]).
    #[n(1)]
    pub log: ByteVec,
    /// What the registers hold.
    #[n(2)]
    pub registers: RegisterValues,
    /// The measurement register at the end of each phase that has ended, the first phase's first.
    #[n(3)]
    pub phases: Vec<Sha384>,
    /// Why the boot was stopped, if it was.
    #[n(4)]
    pub stopped: Option<Refusal>,
    /// The event log of the host's own firmware ([`crate::boot::FirmwareLog`]), as the launcher read it.
    #[n(60)]
    pub firmware: Option<ByteVec>,
}

/// The chains of an enclave's two keys, each leaf first, without the fleet CA.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct EnclaveChains {
    /// Its TLS key's.
    #[n(0)]
    pub tls: Chain,
    /// Its evidence key's.
    #[n(1)]
    pub evidence: Chain,
}

/// What a vault has for the state of its host's enclave.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct EnclaveState {
    /// What it is sealed with.
    #[n(0)]
    pub key: StateKey,
    /// The newest; none where there never was one, or it was reset.
    #[n(1)]
    pub record: Option<StateRecord>,
}

/// A succession that a host's vault has begun.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct BegunSuccession {
    /// The signed [succession](crate::succession).
    #[n(0)]
    pub signed: ByteVec,
    /// The TPM's word on the next key, for the SHA-256 over that message; none where keys are in no TPM, or the key stays.
    #[n(1)]
    pub certified: Option<TpmCertified>,
}

/// One key of a vault.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct KeyDescription {
    /// What it is for.
    #[n(0)]
    pub purpose: Purpose,
    /// SHA-256 over its DER SubjectPublicKeyInfo.
    #[n(1)]
    pub id: ByteArray<32>,
    /// Its chain, leaf first; empty before one was installed.
    #[n(2)]
    pub chain: Chain,
}
