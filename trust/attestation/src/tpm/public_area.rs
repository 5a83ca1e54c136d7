//! Public areas of TPM objects (part 2, section 12.2.4): a key and what it may be used for.

use super::reader::Reader;
use crate::cose::{Curve, PublicKey};
use crate::digest::hash;
use crate::measurement::HashAlgorithm;

/// Longest public area in bytes: more than any RSA key's of 4096 bits.
const MAX_LEN: usize = 1024;

const ALG_RSA: u16 = 0x0001;
const ALG_SHA256: u16 = 0x000b;
const ALG_SHA384: u16 = 0x000c;
const ALG_NULL: u16 = 0x0010;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const CURVE_P256: u16 = 0x0003;
const CURVE_P384: u16 = 0x0004;
/// The public exponent that is meant by 0.
const DEFAULT_EXPONENT: u32 = 65_537;

/// TPMA_OBJECT (part 2, section 8.3).
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const USER_WITH_AUTH: u32 = 1 << 6;
const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// A TPMT_PUBLIC of an asymmetric key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicArea {
    bytes: Vec<u8>,
    name_algorithm: HashAlgorithm,
    attributes: u32,
    has_policy: bool,
    /// Bits of AES-CFB that a storage key protects its children and credentials with.
    pub(super) symmetric_bits: Option<u16>,
    key: AsymmetricKey,
}

/// The key of a public area.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AsymmetricKey {
    /// On a curve.
    Ec(PublicKey),
    /// RSA.
    Rsa {
        /// The modulus, big-endian.
        modulus: Vec<u8>,
        /// The public exponent.
        exponent: u32,
    },
}

/// A public area that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublicAreaError {
    /// It is no TPMT_PUBLIC of a key that this software knows.
    #[error("no public area (TPMT_PUBLIC) of an RSA, P-256 or P-384 key")]
    Malformed,
    /// A key that can leave its TPM, was not made there, or has another use than it should.
    #[error("a TPM's {0} key must be made in the TPM, fixed to it, and for that use only")]
    Attributes(&'static str),
}

impl PublicArea {
    /// Reads a TPMT_PUBLIC.
    pub fn parse(bytes: &[u8]) -> Result<Self, PublicAreaError> {
        if bytes.len() > MAX_LEN {
            return Err(PublicAreaError::Malformed);
        }
        read(bytes).ok_or(PublicAreaError::Malformed)
    }

    /// The object's name (part 1, section 16): the hash's identifier, then the hash over the area.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let algorithm = match self.name_algorithm {
            HashAlgorithm::Sha384 => ALG_SHA384,
            _ => ALG_SHA256,
        };
        let hashed = hash(self.name_algorithm, &self.bytes);
        [&algorithm.to_be_bytes(), &*hashed.0].concat()
    }

    /// The hash of its name.
    #[must_use]
    pub const fn name_algorithm(&self) -> HashAlgorithm {
        self.name_algorithm
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &AsymmetricKey {
        &self.key
    }

    /// Its key, if it is one that signs, was made in its TPM and never leaves it, and if its policy alone lets it sign.
    pub fn policy_bound_signer(&self) -> Result<&PublicKey, PublicAreaError> {
        let refused = PublicAreaError::Attributes("signing");
        let unwanted = USER_WITH_AUTH | RESTRICTED | DECRYPT;
        let fits = self.is_at_home() && self.has(SIGN, unwanted) && self.has_policy;
        match &self.key {
            AsymmetricKey::Ec(key) if fits => Ok(key),
            _ => Err(refused),
        }
    }

    /// Its key, if it signs what the TPM itself says and nothing else.
    pub fn attestation_key(&self) -> Result<&PublicKey, PublicAreaError> {
        let refused = PublicAreaError::Attributes("attestation");
        let fits = self.is_at_home() && self.has(SIGN | RESTRICTED, DECRYPT);
        match &self.key {
            AsymmetricKey::Ec(key) if fits => Ok(key),
            _ => Err(refused),
        }
    }

    /// Whether it is a storage key, as an endorsement key must be: what it decrypts is never handed out as it is.
    pub(super) fn is_storage_key(&self) -> bool {
        self.is_at_home() && self.has(RESTRICTED | DECRYPT, SIGN)
    }

    /// Made in its TPM, never to leave it.
    fn is_at_home(&self) -> bool {
        let fixed = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN;
        self.has(fixed, ENCRYPTED_DUPLICATION)
    }

    const fn has(&self, all: u32, none: u32) -> bool {
        self.attributes & all == all && self.attributes & none == 0
    }
}

fn read(bytes: &[u8]) -> Option<PublicArea> {
    let mut rest = Reader::new(bytes);
    let kind = rest.u16()?;
    let name_algorithm = match rest.u16()? {
        ALG_SHA256 => HashAlgorithm::Sha256,
        ALG_SHA384 => HashAlgorithm::Sha384,
        _ => return None,
    };
    let attributes = rest.u32()?;
    let has_policy = !rest.sized()?.is_empty();
    let symmetric_bits = read_symmetric(&mut rest)?;
    read_scheme(&mut rest)?;
    let key = match kind {
        ALG_ECC => read_ec(&mut rest)?,
        ALG_RSA => read_rsa(&mut rest)?,
        _ => return None,
    };
    rest.is_empty().then(|| PublicArea {
        bytes: bytes.to_vec(),
        name_algorithm,
        attributes,
        has_policy,
        symmetric_bits,
        key,
    })
}

/// TPMT_SYM_DEF_OBJECT: none, or AES in CFB mode.
fn read_symmetric(rest: &mut Reader<'_>) -> Option<Option<u16>> {
    match rest.u16()? {
        ALG_NULL => Some(None),
        ALG_AES => {
            let bits = rest.u16()?;
            let known = matches!(bits, 128 | 256) && rest.u16()? == ALG_CFB;
            known.then_some(Some(bits))
        }
        _ => None,
    }
}

/// TPMT_ECC_SCHEME or TPMT_RSA_SCHEME: none, or ECDSA with some hash.
fn read_scheme(rest: &mut Reader<'_>) -> Option<()> {
    match rest.u16()? {
        ALG_NULL => Some(()),
        ALG_ECDSA => rest.u16().map(drop),
        _ => None,
    }
}

fn read_ec(rest: &mut Reader<'_>) -> Option<AsymmetricKey> {
    let (curve, length) = match rest.u16()? {
        CURVE_P256 => (Curve::P256, 32),
        CURVE_P384 => (Curve::P384, 48),
        _ => return None,
    };
    if rest.u16()? != ALG_NULL {
        return None;
    }
    let mut point = vec![4];
    for _ in 0..2 {
        // A TPM may leave leading zeros out.
        let coordinate = rest.sized()?;
        let zeros = usize::checked_sub(length, coordinate.len())?;
        point.extend(std::iter::repeat_n(0, zeros));
        point.extend(coordinate);
    }
    PublicKey::from_point(curve, &point)
        .ok()
        .map(AsymmetricKey::Ec)
}

fn read_rsa(rest: &mut Reader<'_>) -> Option<AsymmetricKey> {
    let bits = rest.u16()?;
    let exponent = match rest.u32()? {
        0 => DEFAULT_EXPONENT,
        other => other,
    };
    let modulus = rest.sized()?.to_vec();
    let fits = matches!(bits, 2048 | 3072 | 4096) && modulus.len() * 8 == usize::from(bits);
    fits.then_some(AsymmetricKey::Rsa { modulus, exponent })
}
