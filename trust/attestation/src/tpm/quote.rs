//! Quotes: a TPM's signed word on its PCRs (TPM2_Quote, part 2 section 10.12).

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::boot::Sha384;
use crate::cose::{Curve, PublicKey};

/// TPM_GENERATED_VALUE: no key that signs foreign bytes signs what begins with it.
const GENERATED: u32 = 0xff54_4347;
const ST_ATTEST_QUOTE: u16 = 0x8018;
const ALG_SHA384: u16 = 0x000c;
const ALG_ECDSA: u16 = 0x0018;
/// PCRs of a platform.
const PCRS: u8 = 24;
/// Longest structure in bytes: more than a quote of one bank ever has.
const MAX_LEN: usize = 1024;

/// A quote that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuoteError {
    /// It is none.
    #[error("not a quote (TPMS_ATTEST) of SHA-384 PCRs with an ECDSA signature")]
    Malformed,
    /// It was not signed by this key.
    #[error("the quote is not signed by the attestation key that this host enrolled with")]
    Signature,
    /// It was made for something else.
    #[error("the quote was made for another nonce")]
    Nonce,
    /// It is of other PCRs, or of other values.
    #[error("the quote is not of the PCRs and values that were said")]
    Pcrs,
}

/// Verifies that a TPM has signed these PCRs of its SHA-384 bank for this nonce. `attested` is TPMS_ATTEST, `signature` TPMT_SIGNATURE;
/// `key` is the attestation key, of which it is known that it signs nothing but what its TPM says.
pub fn verify_quote(
    attested: &[u8],
    signature: &[u8],
    key: &PublicKey,
    nonce: &[u8],
    pcrs: &BTreeMap<u8, Sha384>,
) -> Result<(), QuoteError> {
    if attested.len() > MAX_LEN || signature.len() > MAX_LEN {
        return Err(QuoteError::Malformed);
    }
    let signature = read_signature(signature).ok_or(QuoteError::Malformed)?;
    let read = read_quote(attested).ok_or(QuoteError::Malformed)?;
    if key.curve() != Curve::P384 || key.verify(attested, &signature).is_err() {
        return Err(QuoteError::Signature);
    }
    if read.nonce != nonce {
        return Err(QuoteError::Nonce);
    }
    // The digest is over the values in ascending order, by the hash of the signature's scheme.
    let values: Vec<u8> = pcrs.values().flat_map(|value| value.0).collect();
    let fits = pcrs.keys().copied().eq(read.pcrs) && read.digest == Sha384::of(&values).0;
    if fits { Ok(()) } else { Err(QuoteError::Pcrs) }
}

struct Quote<'a> {
    nonce: &'a [u8],
    pcrs: Vec<u8>,
    digest: &'a [u8],
}

fn read_quote(bytes: &[u8]) -> Option<Quote<'_>> {
    let mut rest = Reader::new(bytes);
    if rest.u32()? != GENERATED || rest.u16()? != ST_ATTEST_QUOTE {
        return None;
    }
    let _signer = rest.sized()?;
    let nonce = rest.sized()?;
    // Clock, resets, restarts, whether the clock is safe; the firmware's version.
    rest.skip(8 + 4 + 4 + 1 + 8)?;
    // One bank.
    if rest.u32()? != 1 || rest.u16()? != ALG_SHA384 {
        return None;
    }
    let length = rest.u8()?;
    let selected = rest.bytes(length.into())?;
    let bits = |(index, byte): (usize, &u8)| {
        let (first, byte) = (u8::try_from(index * 8).ok(), *byte);
        (0..8)
            .filter(move |bit| byte >> bit & 1 == 1)
            .map(move |bit| first?.checked_add(bit).filter(|number| *number < PCRS))
    };
    let pcrs = selected.iter().enumerate().flat_map(bits);
    let pcrs = pcrs.collect::<Option<Vec<_>>>()?;
    let digest = rest.sized()?;
    rest.is_empty().then_some(Quote {
        nonce,
        pcrs,
        digest,
    })
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
