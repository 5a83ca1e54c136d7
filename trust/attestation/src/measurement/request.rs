//! The request for a measurement: the payload of a COSE_Sign1 by the guest's key.

mod checks;

use minicbor::{Decode, Encode};

use super::{Digest, DigestKind, HashAlgorithm};

pub use checks::RequestError;

/// What a guest asks for. Signed by the guest's enrolled key, relayed verbatim in the report.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct MeasurementRequest {
    /// Always [`MeasurementRequest::VERSION`].
    #[n(0)]
    pub version: u32,
    /// The verifier's nonce: single use, bound to this guest, 60 s.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub verifier_nonce: [u8; 32],
    /// The guest's own nonce; comes back in the attestation result.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub guest_nonce: [u8; 32],
    /// Who shall accept the result (JWT `aud`); 1 to 256 bytes.
    #[n(3)]
    pub audience: String,
    /// The application's registered name; 1 to 128 bytes.
    #[n(4)]
    pub application: String,
    /// What to measure.
    #[n(5)]
    pub target: Target,
    /// Hash algorithm of every digest in the report.
    #[n(6)]
    pub algorithm: HashAlgorithm,
    /// Digest kind of the report's digests.
    #[n(7)]
    pub kind: DigestKind,
    /// What the guest expects the overall digest to be. Never enough to be affirmed.
    #[n(8)]
    pub expected: Option<Digest>,
    /// Whether the guest wishes page digests beside the report; with [`Target::Profile`] only, where they are
    /// digests of code.
    #[n(9)]
    pub page_digests: bool,
}

impl MeasurementRequest {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
    /// Most regions one request may name.
    pub const MAX_REGIONS: usize = 256;
    /// Longest audience in bytes.
    pub const MAX_AUDIENCE: usize = 256;
    /// Longest application name in bytes.
    pub const MAX_APPLICATION: usize = 128;
}

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Target {
    /// Guest-physical regions.
    #[n(0)]
    Physical(#[n(0)] Vec<Region>),
    /// Virtual regions of one process.
    #[n(1)]
    Virtual {
        /// Thread group id in the guest's initial pid namespace.
        #[n(0)]
        pid: u32,
        /// Regions in that process's address space.
        #[n(1)]
        regions: Vec<Region>,
    },
    /// Every executable mapping of every process that executes the program of one, as its application's profile
    /// judges them.
    #[n(2)]
    Profile {
        /// Thread group id in the guest's initial pid namespace; that of one of them.
        #[n(0)]
        pid: u32,
    },
}

/// A region: page-aligned address and size in bytes, not empty, not wrapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Region {
    /// First address, a multiple of 4096.
    #[n(0)]
    pub address: u64,
    /// Size in bytes, a multiple of 4096, not 0.
    #[n(1)]
    pub size: u64,
}
