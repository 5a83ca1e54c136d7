//! What the card and the verifier ask of their vaults.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::{Chain, Purpose, StateRecord, TpmObject, VaultKind};
#[cfg(doc)]
use super::{VaultRefusal, VaultReply};
use crate::certificates::Lineage;
use crate::identity::GuestIdentity;
use crate::measurement::Digest;
use crate::vault_counter::{Machine, Mark};

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
    /// Keep the chain that the fleet CA issued for the card identity; once there is one, only a later one of the same card by the
    /// same fleet CA. Where it is for the key that was begun as the successor, the former key is destroyed. Answer: chain.
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
    /// Replace the fleet CA by a new one, and destroy its key. Answer: [`VaultReply::FleetCas`].
    #[n(40)]
    RotateFleetCa {
        /// An administrator's [order](crate::rotation), COSE_Sign1.
        #[cbor(n(0), with = "minicbor::bytes")]
        order: Vec<u8>,
    },
    /// The CAs of the fleet. Answer: [`VaultReply::FleetCas`].
    #[n(41)]
    DescribeFleetCas,
    /// Trust the present one of these CAs from now on, if the one that is trusted leads to it. Answer: [`VaultReply::Done`].
    #[n(42)]
    RollFleetCa {
        /// The CAs of the fleet.
        #[n(0)]
        lineage: Lineage,
    },
    /// Have the card identity key that is in use name the next one, which is made unless one waits already; or itself. Answer:
    /// [`VaultReply::Succession`].
    #[n(50)]
    BeginSuccession {
        /// Which key comes next.
        #[n(0)]
        next: NextKey,
    },
    /// Certify the key that a card's present key names, for the same card, name and kind of vault. Answer: chain.
    #[n(51)]
    IssueSuccessor {
        /// The signed [succession](crate::succession).
        #[cbor(n(0), with = "minicbor::bytes")]
        succession: Vec<u8>,
    },
    /// Make another sealing key, seal everything by it, and destroy the former one. Answer: [`VaultReply::Done`].
    #[n(70)]
    RotateSealing,
    /// Certify the two keys that the enclave made in itself, which differ. Answer: [`VaultReply::Enclave`].
    #[n(80)]
    CertifyEnclave {
        /// Of the TLS key: PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        tls: Vec<u8>,
        /// Of the evidence key: PKCS#10, DER.
        #[cbor(n(1), with = "minicbor::bytes")]
        evidence: Vec<u8>,
        /// Lifetime in seconds.
        #[n(2)]
        lifetime_s: u64,
    },
    /// Certify the hypervisor's TLS key. Answer: chain.
    #[n(81)]
    CertifyHypervisor {
        /// PKCS#10, DER.
        #[cbor(n(0), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// Lifetime in seconds.
        #[n(1)]
        lifetime_s: u64,
    },
    /// What the enclave's state is sealed with, and which one is the newest. Answer: [`VaultReply::EnclaveState`].
    #[n(82)]
    EnclaveState,
    /// Keep that this is the newest state of the enclave: the one after that which was, or the same once more. Nobody is told so before
    /// it is on disk. Answer: [`VaultReply::Done`].
    #[n(83)]
    RecordEnclaveState(#[n(0)] StateRecord),
    /// Forget the enclave's state: it begins with none, under another key. Answer: [`VaultReply::Done`].
    #[n(84)]
    ResetEnclaveState,
}

/// The card identity key that comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum NextKey {
    /// The one that is in use: its certificate is renewed.
    #[n(0)]
    Same,
    /// Another one.
    #[n(1)]
    New,
}

impl VaultRequest {
    /// Largest frame either way, in bytes.
    pub const MAX_FRAME: usize = 1 << 20;
}
