//! Certified objects: a TPM's signed word that it holds an object (TPM2_Certify, part 2 section 10.12.3).

use super::attest::{self, NotAttested};
use super::public_area::{PublicArea, PublicAreaError};
use crate::cose::PublicKey;

const ST_ATTEST_CERTIFY: u16 = 0x8017;

/// A TPM's word on an object is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertifyError {
    /// It is none.
    #[error("not a TPM's word on an object (TPMS_ATTEST of type certify) with an ECDSA signature")]
    Malformed,
    /// It was not signed by this key.
    #[error(
        "the TPM's word on the object is not signed by the attestation key that this host enrolled with: it is of another TPM"
    )]
    Signature,
    /// It was made for something else.
    #[error("the TPM's word on the object was made for another request")]
    Nonce,
    /// It is of another object.
    #[error("the TPM's word is on another object than the one that is shown")]
    OtherObject,
    /// The object is no key as it should be.
    #[error(transparent)]
    Area(#[from] PublicAreaError),
}

/// Verifies that the TPM of an attestation key holds the object of this public area, and said so for this nonce; answers the object's
/// key, which signs by its policy alone and never leaves the TPM. `attested` is TPMS_ATTEST, `signature` TPMT_SIGNATURE; of `key` it
/// is known that it signs nothing but what its TPM says.
pub fn verify_certified<'a>(
    attested: &[u8],
    signature: &[u8],
    key: &PublicKey,
    nonce: &[u8],
    area: &'a PublicArea,
) -> Result<&'a PublicKey, CertifyError> {
    let said = attest::verify(attested, signature, key, ST_ATTEST_CERTIFY);
    let mut said = said.map_err(|error| match error {
        NotAttested::Malformed => CertifyError::Malformed,
        NotAttested::Signature => CertifyError::Signature,
    })?;
    let name = said.rest.sized().ok_or(CertifyError::Malformed)?;
    // Where in the TPM's tree it hangs.
    said.rest.sized().ok_or(CertifyError::Malformed)?;
    if !said.rest.is_empty() {
        return Err(CertifyError::Malformed);
    }
    if said.nonce != nonce {
        return Err(CertifyError::Nonce);
    }
    if name != area.name() {
        return Err(CertifyError::OtherObject);
    }
    Ok(area.policy_bound_signer()?)
}
