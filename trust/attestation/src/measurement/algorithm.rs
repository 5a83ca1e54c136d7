//! Hash algorithms and digest kinds.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode};

/// Hash algorithms, numbered as in IANA's Named Information Hash Algorithm Registry (RFC 6920), which has no BLAKE3: that one's number is of
/// the multicodec table, and unassigned there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode)]
#[cbor(index_only)]
pub enum HashAlgorithm {
    /// SHA-256 (FIPS 180-4).
    #[n(1)]
    Sha256 = 1,
    /// SHA-384 (FIPS 180-4).
    #[n(7)]
    Sha384 = 7,
    /// SHA-512 (FIPS 180-4).
    #[n(8)]
    Sha512 = 8,
    /// SHA3-256 (FIPS 202).
    #[n(10)]
    Sha3_256 = 10,
    /// SHA3-384 (FIPS 202).
    #[n(11)]
    Sha3_384 = 11,
    /// SHA3-512 (FIPS 202).
    #[n(12)]
    Sha3_512 = 12,
    /// BLAKE3 with its default length of 256 bits (O'Connor et al., "BLAKE3: one function, fast everywhere", section 2).
    #[n(30)]
    Blake3 = 30,
}

/// A name that stands for no hash algorithm of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown hash algorithm `{0}`; known are sha-256, sha-384, sha-512, sha3-256, sha3-384, sha3-512, blake3"
)]
pub struct UnknownHashAlgorithm(pub String);

/// A number that stands for no hash algorithm of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "hash algorithm {0} is not known; known are 1, 7, 8, 10, 11 and 12 of RFC 6920's registry, and 30"
)]
pub struct UnknownAlgorithmNumber(pub u64);

/// As the derived one, but an unknown number is told apart from other malformed input: its error's source is
/// an [`UnknownAlgorithmNumber`].
impl<'b, C> Decode<'b, C> for HashAlgorithm {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let number = decoder.u64()?;
        Self::ALL
            .into_iter()
            .find(|algorithm| *algorithm as u64 == number)
            .ok_or_else(|| minicbor::decode::Error::custom(UnknownAlgorithmNumber(number)))
    }
}

impl HashAlgorithm {
    /// Every algorithm, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
        Self::Blake3,
    ];

    /// Digest length in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Sha3_256 | Self::Blake3 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The registry's name, for example `sha3-256`; `blake3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
            Self::Blake3 => "blake3",
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = UnknownHashAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownHashAlgorithm(name.into()))
    }
}

/// How the bytes of the measured pages become one digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum DigestKind {
    /// The hash over the bytes of all regions in the order of the request.
    #[n(0)]
    Flat,
    /// Merkle tree hash (RFC 6962 section 2.1) whose leaf `i` is the page digest of page `i`.
    #[n(1)]
    Tree,
}

/// A digest: as many bytes as its algorithm says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Digest(#[cbor(with = "minicbor::bytes")] pub Vec<u8>);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
