//! Typed key purposes, and what the card and the verifier ask of their vaults.
//!
//! There is no "sign these bytes": each operation names what is signed, the vault builds or
//! checks the bytes itself, so that a key of one purpose can never sign for another.

mod history;

use std::collections::BTreeMap;

pub use history::{KeyEvent, KeyEventKind, KeyKind};

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::boot::{Phase, Refusal, RegisterValues, Sha384};
use crate::identity::GuestIdentity;
use crate::measurement::Digest;
use crate::vault_counter::{Machine, Mark};

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Purpose {
    /// Certifies hosts, operators, the verifier's TLS and token keys. P-384.
    #[n(0)]
    FleetCa,
    /// A host's identity; certifies its short-lived keys. P-384.
    #[n(1)]
    CardIdentity,
    /// The verifier's TLS server key. P-384.
    #[n(2)]
    TlsServer,
    /// A host's TLS client key. P-384.
    #[n(3)]
    TlsClient,
    /// Signs attestation results (JWT, ES256). P-256.
    #[n(4)]
    Token,
}

/// Which back end holds the keys. Part of every certificate: a fallback is never silent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum VaultKind {
    /// Keys sealed in a file: development only.
    #[n(0)]
    Software,
    /// Keys of a TPM 2.0, those of the host bound to its registers.
    #[n(1)]
    Tpm2,
    /// Keys in a PKCS #11 token.
    #[n(2)]
    Pkcs11,
}

impl VaultKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Software, Self::Tpm2, Self::Pkcs11];

    /// The word in certificates (DICE TcbInfo `type`) and results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "development",
            Self::Tpm2 => "tpm2",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A certificate chain: DER certificates, leaf first, without the fleet CA.
pub type Chain = Vec<ByteVec>;

/// What a vault is asked. One frame of at most [`VaultRequest::MAX_FRAME`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum VaultRequest {
    /// Which back end, which keys.
    #[n(0)]
    Describe,
    /// Make the fleet CA, once. Answer: [`VaultReply::Certificates`] of one.
    #[n(1)]
    CreateFleetCa {
        /// Common name.
        #[n(0)]
        name: String,
    },
    /// Certify a host's card identity from its CSR (proof of possession). Answer: chain.
    #[n(2)]
    IssueHost {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// The host's name, for people.
        #[n(1)]
        name: String,
        /// The back end that the host's own vault has: the certificate says so, and so must those that it certifies.
        #[n(2)]
        vault: VaultKind,
    },
    /// Certify an operator's key from its CSR: the fleet's first, while the fleet is begun, or one that the
    /// vault's own configuration names. Answer: chain.
    #[n(3)]
    IssueOperator {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// The operator's name.
        #[n(1)]
        name: String,
    },
    /// Make a new TLS server key and its certificate by the fleet CA. Answer: chain.
    #[n(4)]
    RotateTlsServer {
        /// DNS names and IP addresses of the server.
        #[n(0)]
        names: Vec<String>,
        /// Lifetime in seconds.
        #[n(1)]
        lifetime_s: u64,
    },
    /// Make a new token key and its certificate by the fleet CA, unless there are too many that are still valid:
    /// [`VaultRefusal::Overlap`]. Answer: chain.
    #[n(5)]
    RotateToken {
        /// Lifetime in seconds.
        #[n(0)]
        lifetime_s: u64,
    },
    /// Sign an attestation result. The vault builds the JOSE header itself. Answer: token.
    #[n(6)]
    SignToken {
        /// The claims, JSON object, UTF-8; must carry `eat_profile`, `iat`, `exp`, `aud`.
        #[n(0)]
        claims: String,
        /// Leaf certificate (DER) whose key shall sign: only one that is published is of use.
        #[cbor(n(1), with = "minicbor::bytes")]
        certificate: Vec<u8>,
    },
    /// Sign a TLS 1.3 CertificateVerify (RFC 8446 section 4.4.3); anything else is refused.
    #[n(7)]
    SignTls {
        /// [`Purpose::TlsServer`] or [`Purpose::TlsClient`].
        #[n(0)]
        purpose: Purpose,
        /// Leaf certificate (DER) whose key shall sign: keys overlap during a rotation.
        #[cbor(n(1), with = "minicbor::bytes")]
        certificate: Vec<u8>,
        /// The content covered by the signature.
        #[cbor(n(2), with = "minicbor::bytes")]
        message: Vec<u8>,
    },
    /// Make the card identity key, once. Answer: [`VaultReply::Csr`].
    #[n(8)]
    CreateCardIdentity,
    /// Keep the chain that the fleet CA issued for the card identity; once there is one, only a later one by the same
    /// fleet CA. Answer: chain.
    #[n(9)]
    InstallCardIdentity {
        /// The chain, leaf first.
        #[n(0)]
        chain: Chain,
        /// The fleet CA certificate, DER.
        #[cbor(n(1), with = "minicbor::bytes")]
        fleet_ca: Vec<u8>,
    },
    /// Make a new TLS client key and its certificate by the card identity. Answer: chain.
    #[n(10)]
    RotateTlsClient {
        /// Lifetime in seconds.
        #[n(0)]
        lifetime_s: u64,
    },
    /// Certify a measurer's report key. Answer: chain.
    #[n(11)]
    CertifyReportKey {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// The one guest that this measurer measures.
        #[n(1)]
        guest: GuestIdentity,
        /// That guest's launch measurement.
        #[n(2)]
        launch_measurement: Digest,
        /// Lifetime in seconds.
        #[n(3)]
        lifetime_s: u64,
    },
    /// Certify a key that a guest made in itself. Answer: chain.
    #[n(12)]
    CertifyGuestKey {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// The guest.
        #[n(1)]
        guest: GuestIdentity,
        /// Its launch measurement.
        #[n(2)]
        launch_measurement: Digest,
        /// Lifetime in seconds.
        #[n(3)]
        lifetime_s: u64,
    },
    /// Ask for a new certificate of the card identity key that has one: the key stays. Answer: [`VaultReply::Csr`].
    #[n(13)]
    RenewCardIdentity,
    /// How this host was booted. Answer: [`VaultReply::Boot`].
    #[n(14)]
    DescribeBoot,
    /// What the TPM shows of itself and of the card identity key. Answer: [`VaultReply::Tpm`].
    #[n(15)]
    DescribeTpm,
    /// Have the TPM open a secret that was encrypted for one of its objects (TPM2_ActivateCredential). Answer:
    /// [`VaultReply::Secret`].
    #[n(16)]
    ActivateCredential {
        /// For which object.
        #[n(0)]
        object: TpmObject,
        /// The contents of TPM2B_ID_OBJECT.
        #[cbor(n(1), with = "minicbor::bytes")]
        credential: Vec<u8>,
        /// The contents of TPM2B_ENCRYPTED_SECRET.
        #[cbor(n(2), with = "minicbor::bytes")]
        secret: Vec<u8>,
    },
    /// Have the TPM sign what the registers and the host's PCRs hold. Answer: [`VaultReply::Quote`].
    #[n(17)]
    Quote {
        /// 1 to 64 bytes.
        #[cbor(n(0), with = "minicbor::bytes")]
        nonce: Vec<u8>,
    },
    /// What became of this vault's keys, as far as it is remembered. Answer: [`VaultReply::History`].
    #[n(20)]
    History,
    /// Destroy a token key or TLS server key now, with its certificate still valid. Answer: [`VaultReply::Done`].
    #[n(21)]
    Revoke {
        /// [`Purpose::Token`] or [`Purpose::TlsServer`].
        #[n(0)]
        purpose: Purpose,
        /// SHA-256 over its DER SubjectPublicKeyInfo.
        #[n(1)]
        id: ByteArray<32>,
    },
    /// State the counter, to report in with: the same statement until it was answered. Answer: [`VaultReply::Statement`].
    #[n(30)]
    StateCounter {
        /// The machine that this vault is on.
        #[n(0)]
        machine: Machine,
    },
    /// Keep the mark that the verifier gave for the statement of this counter. Answer: [`VaultReply::Done`].
    #[n(31)]
    TakeMark {
        /// The statement's counter.
        #[n(0)]
        counter: u64,
        /// The mark.
        #[cbor(n(1), with = "minicbor::bytes")]
        mark: Mark,
    },
}

impl VaultRequest {
    /// Largest frame either way, in bytes.
    pub const MAX_FRAME: usize = 1 << 20;
}

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
    /// Which PCR is the measurement register.
    #[n(2)]
    pub measurement: u8,
    /// Which is the authority register.
    #[n(3)]
    pub authority: u8,
    /// What the quoted PCRs hold.
    #[n(4)]
    pub pcrs: BTreeMap<u8, Sha384>,
}

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
}

impl VaultReply {
    /// Most events that are remembered of one kind of key.
    pub const EVENTS_OF_A_KIND: usize = 256;
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

/// Why a vault refused.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum VaultRefusal {
    /// The role of this vault does not have that purpose.
    #[n(0)]
    #[error("this vault's role does not hold {purpose:?} keys")]
    WrongRole {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
    },
    /// There is no such key yet.
    #[n(1)]
    #[error("there is no {purpose:?} key yet")]
    NoKey {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
    },
    /// The key exists already and is made once only.
    #[n(2)]
    #[error("the {purpose:?} key exists already")]
    Exists {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
    },
    /// The CSR, chain, claims or message is not what this purpose signs.
    #[n(3)]
    #[error("refused to sign: {0}")]
    NotSignable(#[n(0)] String),
    /// The store could not be read or written.
    #[n(4)]
    #[error("the key store failed: {0}")]
    Store(#[n(0)] String),
    /// The fleet has its first operator, and the vault's configuration does not name this one.
    #[n(5)]
    #[error(
        "the vault's configuration does not name operator `{name}`; if key {key_sha256} is theirs, add both to `operators` there and start the vault anew"
    )]
    UnnamedOperator {
        /// The name that was asked for.
        #[n(0)]
        name: String,
        /// SHA-256 over the key's DER SubjectPublicKeyInfo, 64 hexadecimal digits.
        #[n(1)]
        key_sha256: String,
    },
    /// As many keys of that purpose are valid as there may be.
    #[n(6)]
    #[error(
        "there are {keys} {purpose:?} keys whose certificates are still valid, the most there may be; wait until the oldest has expired"
    )]
    Overlap {
        /// What was asked for.
        #[n(0)]
        purpose: Purpose,
        /// How many there are.
        #[n(1)]
        keys: u32,
    },
    /// The keys are in no TPM.
    #[n(8)]
    #[error("this vault's keys are in no TPM")]
    NoTpm,
    /// The boot has not come that far, or was stopped.
    #[n(7)]
    #[error("that stays shut until phase {phase} of the measured boot has ended{}", why_stopped(.stopped.as_ref()))]
    Shut {
        /// Which phase opens it.
        #[n(0)]
        phase: Phase,
        /// Why the boot was stopped, if it was.
        #[n(1)]
        stopped: Option<Refusal>,
    },
}

fn why_stopped(refusal: Option<&Refusal>) -> String {
    refusal.map_or_else(String::new, |refusal| {
        format!("; the boot was stopped: {refusal}")
    })
}
