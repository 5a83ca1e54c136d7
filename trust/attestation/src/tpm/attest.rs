//! TPMS_ATTEST (part 2, section 10.12): what a TPM says of itself, signed by its attestation key.

use super::reader::Reader;
use crate::cose::{Curve, PublicKey};

/// TPM_GENERATED_VALUE: no key that signs foreign bytes signs what begins with it.
const GENERATED: u32 = 0xff54_4347;
const ALG_SHA384: u16 = 0x000c;
const ALG_ECDSA: u16 = 0x0018;
/// Longest structure in bytes: more than a quote of one bank, or a certified name, ever has.
const MAX_LEN: usize = 1024;

/// What a TPM says.
pub(super) struct Attested<'a> {
    /// What it was asked to sign beside it.
    pub(super) nonce: &'a [u8],
    /// Of its type: what is said.
    pub(super) rest: Reader<'a>,
}

/// It is not what a TPM said.
pub(super) enum NotAttested {
    Malformed,
    Signature,
}

/// Reads a structure of this type which that key has signed. `signature`: TPMT_SIGNATURE.
pub(super) fn verify<'a>(
    attested: &'a [u8],
    signature: &[u8],
    key: &PublicKey,
    kind: u16,
) -> Result<Attested<'a>, NotAttested> {
    if attested.len() > MAX_LEN || signature.len() > MAX_LEN {
        return Err(NotAttested::Malformed);
    }
    let signature = read_signature(signature).ok_or(NotAttested::Malformed)?;
    let read = read(attested, kind).ok_or(NotAttested::Malformed)?;
    if key.curve() == Curve::P384 && key.verify(attested, &signature).is_ok() {
        Ok(read)
    } else {
        Err(NotAttested::Signature)
    }
}

fn read(bytes: &[u8], kind: u16) -> Option<Attested<'_>> {
    let mut rest = Reader::new(bytes);
    if rest.u32()? != GENERATED || rest.u16()? != kind {
        return None;
    }
    let _signer = rest.sized()?;
    let nonce = rest.sized()?;
    // Clock, resets, restarts, whether the clock is safe; the firmware's version.
    rest.skip(8 + 4 + 4 + 1 + 8)?;
    Some(Attested { nonce, rest })
}

/// `r || s`, 48 bytes each.
fn read_signature(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Reader::new(bytes);
    if rest.u16()? != ALG_ECDSA || rest.u16()? != ALG_SHA384 {
        return None;
    }
    let mut signature = Vec::new();
    for _ in 0..2 {
        let number = rest.sized()?;
        let zeros = usize::checked_sub(48, number.len())?;
        signature.extend(std::iter::repeat_n(0, zeros));
        signature.extend(number);
    }
    rest.is_empty().then_some(signature)
}
