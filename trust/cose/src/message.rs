//! Building, parsing and verifying a message.

use super::{BadSignature, Curve, MAX_CERTIFICATE, MAX_CHAIN, PublicKey, wire};

/// What a message is: the protected `typ` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageType {
    /// A guest's request to be measured; payload `MeasurementRequest`.
    MeasurementRequest,
    /// A measurer's report; payload `Report`.
    Report,
    /// An operator's launch record; payload its YAML.
    LaunchRecord,
    /// A guest's request to renew its key; payload `RenewalRequest`.
    RenewalRequest,
    /// A release manifest; payload `Manifest` of the measured boot.
    ReleaseManifest,
    /// An operator's order to a host; payload `Order`.
    Operation,
    /// What a host's vault states when it reports in; payload `Statement` of its counter.
    VaultCounter,
    /// A card identity key's word on the key that comes after it; payload `Successor`.
    Succession,
    /// An administrator's order to replace the fleet CA; payload `RotationOrder`.
    FleetCaRotation,
    /// A policy of an author; payload its YAML.
    PolicyYaml,
    /// A policy of an author; payload its JSON.
    PolicyJson,
    /// What an enclave states of what it decided and did; payload `Evidence`, an EAT (RFC 9711).
    Evidence,
}

impl MessageType {
    /// The media type in `typ`.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::MeasurementRequest => "application/bartizan-request+cbor",
            Self::Report => "application/bartizan-report+cbor",
            Self::LaunchRecord => "application/bartizan-launch-record+yaml",
            Self::RenewalRequest => "application/bartizan-renewal+cbor",
            Self::ReleaseManifest => "application/bartizan-release+cbor",
            Self::Operation => "application/bartizan-operation+cbor",
            Self::VaultCounter => "application/bartizan-vault-counter+cbor",
            Self::Succession => "application/bartizan-succession+cbor",
            Self::FleetCaRotation => "application/bartizan-fleet-ca-rotation+cbor",
            Self::PolicyYaml => "application/bartizan-policy+yaml",
            Self::PolicyJson => "application/bartizan-policy+json",
            Self::Evidence => "application/eat+cwt",
        }
    }

    /// Largest message of this type, in bytes.
    #[must_use]
    pub const fn max_len(self) -> usize {
        match self {
            Self::MeasurementRequest => 64 << 10,
            Self::Report => 4 << 20,
            Self::LaunchRecord => 256 << 10,
            Self::RenewalRequest => 16 << 10,
            Self::ReleaseManifest => 1 << 20,
            // A whole launch record, and the chain of who orders it to be run.
            Self::Operation => 320 << 10,
            Self::VaultCounter | Self::FleetCaRotation => 16 << 10,
            Self::Succession => 24 << 10,
            // A policy of 4 MiB, and what is around it.
            Self::PolicyYaml | Self::PolicyJson => (4 << 20) + 1024,
            // A payload of 32 KiB, and a chain of two certificates.
            Self::Evidence => 64 << 10,
        }
    }

    /// Whether its messages name the key that they are to be signed by, in the place of a chain.
    #[must_use]
    pub const fn names_key(self) -> bool {
        matches!(self, Self::PolicyYaml | Self::PolicyJson)
    }
}

/// A P-384 key that signs.
pub trait Sign {
    /// Signs with ES384 (RFC 9053 section 2.1); answers `r || s`, 96 bytes.
    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A message could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key failed.
    #[error("the key could not sign")]
    Key,
    /// The key answered with something else than an ES384 signature.
    #[error("the key gave {0} bytes where an ES384 signature has 96; use a P-384 key")]
    SignatureLength(usize),
    /// The chain does not fit into a message.
    #[error(
        "a chain of {certificates} certificates, the largest of {largest} bytes, does not fit; at most 4 of at most 8192 bytes"
    )]
    Chain {
        /// How many there are.
        certificates: usize,
        /// Size of the largest in bytes.
        largest: usize,
    },
    /// Messages of the type have a chain, or name a key, where this one was to have the other.
    #[error("a message of type `{0}` does not say so who signed it")]
    Signer(&'static str),
    /// The message would be larger than its type allows.
    #[error("the message would have {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// A message could not be parsed or verified.
#[derive(Debug, thiserror::Error)]
pub enum CoseError {
    /// It is larger than its type allows.
    #[error("a message of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It is no tagged COSE_Sign1 of the one shape.
    #[error("not a COSE_Sign1: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// Its unprotected header is not empty.
    #[error("the unprotected header is not empty; protect every header")]
    Unprotected,
    /// Its protected header holds other labels than `alg`, `typ`, and the `kid` or `x5chain` of its type.
    #[error(
        "the protected header must hold alg, typ, and the kid or at most x5chain, in this order"
    )]
    Header,
    /// Its `kid` does not have the length of a SHA-256.
    #[error("a kid of {0} bytes; a key is named by 32")]
    KeyId(usize),
    /// Its algorithm is not ES384.
    #[error("algorithm {0} is refused; sign with ES384 (-35)")]
    Algorithm(i64),
    /// It is a message of another type.
    #[error("a message of type `{found}` was presented where `{expected}` is due")]
    WrongType {
        /// The type due.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// Its chain is longer or a certificate is larger than allowed.
    #[error("the chain in x5chain must have 1 to 4 certificates of at most 8192 bytes")]
    Chain,
    /// Its signature does not have the length of an ES384 signature.
    #[error("a signature of {0} bytes; an ES384 signature has 96")]
    SignatureLength(usize),
    /// It is not in its one encoding.
    #[error("the message is not deterministically encoded (RFC 8949 section 4.2)")]
    NotDeterministic,
    /// The key is not a P-384 key.
    #[error("the key is no P-384 key, which ES384 needs")]
    WrongCurve,
    /// The signature is not by that key over these bytes.
    #[error("{0}")]
    BadSignature(#[from] BadSignature),
}

/// Signs `payload`; `chain` (DER, leaf first) may be empty.
pub fn sign1(
    kind: MessageType,
    payload: &[u8],
    chain: &[Vec<u8>],
    key: &impl Sign,
) -> Result<Vec<u8>, SignError> {
    let largest = chain.iter().map(Vec::len).max().unwrap_or(0);
    if chain.len() > MAX_CHAIN || largest > MAX_CERTIFICATE {
        return Err(SignError::Chain {
            certificates: chain.len(),
            largest,
        });
    }
    sign(kind, payload, &Signer::Chain(chain.to_vec()), key)
}

/// Signs `payload` in a message that names its key, whose public half is `public`: for types of which
/// [`MessageType::names_key`] says so.
pub fn sign1_by_named_key(
    kind: MessageType,
    payload: &[u8],
    public: &PublicKey,
    key: &impl Sign,
) -> Result<Vec<u8>, SignError> {
    sign(kind, payload, &Signer::Key(public.sha256()), key)
}

fn sign(
    kind: MessageType,
    payload: &[u8],
    signer: &Signer,
    key: &impl Sign,
) -> Result<Vec<u8>, SignError> {
    if matches!(signer, Signer::Key(_)) != kind.names_key() {
        return Err(SignError::Signer(kind.media_type()));
    }
    let protected = wire::protected(kind, signer);
    let signature = key.sign(&wire::to_be_signed(&protected, payload))?;
    if signature.len() != wire::SIGNATURE {
        return Err(SignError::SignatureLength(signature.len()));
    }
    let message = wire::message(&protected, payload, &signature);
    let (size, limit) = (message.len(), kind.max_len());
    if size > limit {
        Err(SignError::TooLarge { size, limit })
    } else {
        Ok(message)
    }
}

/// How a message says who signed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Signer {
    /// By the chain of the key's certificate; empty where the reader knows the key.
    Chain(Vec<Vec<u8>>),
    /// By the SHA-256 over the key's SubjectPublicKeyInfo, of which the reader knows several.
    Key([u8; 32]),
}

/// A well-formed message whose signature has not been checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unverified {
    protected: Vec<u8>,
    pub(super) signer: Signer,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl Unverified {
    /// Parses a message of the type that is due; anything else is refused.
    pub fn parse(bytes: &[u8], kind: MessageType) -> Result<Self, CoseError> {
        let limit = kind.max_len();
        if bytes.len() > limit {
            return Err(CoseError::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        let parts = wire::Parts::decode(bytes)?;
        let signer = wire::decode_protected(parts.protected, kind)?;
        if parts.signature.len() != wire::SIGNATURE {
            return Err(CoseError::SignatureLength(parts.signature.len()));
        }
        let protected = wire::protected(kind, &signer);
        if wire::message(&protected, parts.payload, parts.signature) != bytes {
            return Err(CoseError::NotDeterministic);
        }
        Ok(Self {
            protected,
            signer,
            payload: parts.payload.to_vec(),
            signature: parts.signature.to_vec(),
        })
    }

    /// The chain in the message, leaf first; empty where it carries none. Verify it before use.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        match &self.signer {
            Signer::Chain(chain) => chain,
            Signer::Key(_) => &[],
        }
    }

    /// The SHA-256 over the SubjectPublicKeyInfo of the key that it is to be signed by, where its type names one: says which key
    /// to verify with, and nothing else.
    #[must_use]
    pub const fn key_sha256(&self) -> Option<&[u8; 32]> {
        match &self.signer {
            Signer::Chain(_) => None,
            Signer::Key(sha256) => Some(sha256),
        }
    }

    /// The payload as anybody could have written it: for the measurer, which is not told the signer's key and
    /// whose report carries the message verbatim for the verifier. Everybody else verifies.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Verifies the signature and hands out the payload.
    pub fn verify(self, key: &PublicKey) -> Result<Vec<u8>, CoseError> {
        if key.curve() != Curve::P384 {
            return Err(CoseError::WrongCurve);
        }
        key.verify(
            &wire::to_be_signed(&self.protected, &self.payload),
            &self.signature,
        )?;
        Ok(self.payload)
    }
}
