//! Deterministic CBOR (RFC 8949 section 4.2): one value has one encoding, and no other is read.

use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

/// Bytes that are not the one encoding of the value wanted.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Not a value of this type.
    #[error("not the expected CBOR value: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// A value of this type, but spelled in another way: longer integers, unknown or reordered
    /// keys, indefinite lengths, trailing bytes.
    #[error(
        "not deterministically encoded (RFC 8949 section 4.2); encode definite-length, shortest form, known keys only"
    )]
    NotDeterministic,
}

/// Encodes a value.
pub fn encode<M: Encode<()>>(value: &M) -> Vec<u8> {
    match minicbor::to_vec(value) {
        Ok(bytes) => bytes,
        // INVARIANT: writing to a Vec is infallible, as minicbor's error type says; no type of
        // this project has an encoder that fails by itself.
        Err(error) => match error.into_write() {
            Some(never) => match never {},
            None => Vec::new(),
        },
    }
}

/// Decodes a value and refuses every encoding but the one that [`encode`] makes of it.
///
/// Memory stays within a small multiple of `bytes`: callers bound its length.
pub fn decode_strict<M>(bytes: &[u8]) -> Result<M, CborError>
where
    M: Encode<()> + for<'b> Decode<'b, ()>,
{
    let value = minicbor::decode(bytes)?;
    if encode(&value) == bytes {
        Ok(value)
    } else {
        Err(CborError::NotDeterministic)
    }
}

/// A list that is bounded while it is read: an empty byte string takes one byte of CBOR, and 24 times that in memory.
pub fn at_most<'b, const MOST: u64, C, T>(
    from: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, Error>
where
    T: Decode<'b, C>,
{
    match from.probe().array()? {
        Some(length) if length <= MOST => Vec::decode(from, context),
        Some(_) => Err(Error::message("a list is too long")),
        None => Err(Error::message("a list has no length")),
    }
}
