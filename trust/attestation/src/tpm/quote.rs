//! Quotes: a TPM's signed word on its PCRs (TPM2_Quote, part 2 section 10.12).

use std::collections::BTreeMap;

use super::attest::{self, NotAttested};
use super::reader::Reader;
use crate::boot::Sha384;
use crate::cose::PublicKey;

const ST_ATTEST_QUOTE: u16 = 0x8018;
const ALG_SHA384: u16 = 0x000c;
/// PCRs of a platform.
const PCRS: u8 = 24;

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
    let said = attest::verify(attested, signature, key, ST_ATTEST_QUOTE);
    let said = said.map_err(|error| match error {
        NotAttested::Malformed => QuoteError::Malformed,
        NotAttested::Signature => QuoteError::Signature,
    })?;
    let read = read_quote(said.rest).ok_or(QuoteError::Malformed)?;
    if said.nonce != nonce {
        return Err(QuoteError::Nonce);
    }
    // The digest is over the values in ascending order, by the hash of the signature's scheme.
    let values: Vec<u8> = pcrs.values().flat_map(|value| value.0).collect();
    let fits = pcrs.keys().copied().eq(read.pcrs) && read.digest == Sha384::of(&values).0;
    if fits { Ok(()) } else { Err(QuoteError::Pcrs) }
}

struct Quote<'a> {
    pcrs: Vec<u8>,
    digest: &'a [u8],
}

fn read_quote(mut rest: Reader<'_>) -> Option<Quote<'_>> {
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
    rest.is_empty().then_some(Quote { pcrs, digest })
}
