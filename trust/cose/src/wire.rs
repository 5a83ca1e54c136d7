//! The bytes of a message.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::encode::Encoder;

use super::message::Signer;
use super::{CoseError, MAX_CERTIFICATE, MAX_CHAIN, MessageType};

/// Length of an ES384 signature in bytes.
pub(super) const SIGNATURE: usize = 96;

/// Tag of a COSE_Sign1 (RFC 9052 section 2).
const TAG: u64 = 18;
/// Header labels: RFC 9052 section 3.1, RFC 9596, RFC 9360.
const ALG: i64 = 1;
const KID: i64 = 4;
const TYP: i64 = 16;
const X5CHAIN: i64 = 33;
/// ES384 (RFC 9053 section 2.1).
const ES384: i64 = -35;

/// The parts of a message, borrowed from its bytes.
pub(super) struct Parts<'b> {
    pub(super) protected: &'b [u8],
    pub(super) payload: &'b [u8],
    pub(super) signature: &'b [u8],
}

impl<'b> Parts<'b> {
    pub(super) fn decode(bytes: &'b [u8]) -> Result<Self, CoseError> {
        let mut decoder = Decoder::new(bytes);
        if decoder.tag()?.as_u64() != TAG {
            return Err(minicbor::decode::Error::message("tag 18 expected").into());
        }
        if decoder.array()? != Some(4) {
            return Err(minicbor::decode::Error::message("array of 4 expected").into());
        }
        let protected = decoder.bytes()?;
        if decoder.map()? != Some(0) {
            return Err(CoseError::Unprotected);
        }
        Ok(Self {
            protected,
            payload: decoder.bytes()?,
            signature: decoder.bytes()?,
        })
    }
}

/// Reads the protected header of a message that is to be of type `kind`; answers how it says who signed it.
pub(super) fn decode_protected(bytes: &[u8], kind: MessageType) -> Result<Signer, CoseError> {
    let mut decoder = Decoder::new(bytes);
    let entries = decoder.map()?;
    if !matches!(entries, Some(2 | 3)) || decoder.i64()? != ALG {
        return Err(CoseError::Header);
    }
    let algorithm = decoder.i64()?;
    if algorithm != ES384 {
        return Err(CoseError::Algorithm(algorithm));
    }
    let key = kind.names_key().then(|| decode_kid(&mut decoder));
    let key = key.transpose()?;
    if decoder.i64()? != TYP {
        return Err(CoseError::Header);
    }
    let found = decoder.str()?;
    if found != kind.media_type() {
        // What a stranger wrote is quoted, but not at any length.
        let found = found.chars().take(100).collect();
        return Err(CoseError::WrongType {
            expected: kind.media_type(),
            found,
        });
    }
    match (key, entries) {
        (Some(key), Some(3)) => Ok(Signer::Key(key)),
        (Some(_), _) => Err(CoseError::Header),
        (None, Some(2)) => Ok(Signer::Chain(Vec::new())),
        (None, _) if decoder.i64()? != X5CHAIN => Err(CoseError::Header),
        (None, _) => decode_chain(&mut decoder).map(Signer::Chain),
    }
}

fn decode_kid(decoder: &mut Decoder<'_>) -> Result<[u8; 32], CoseError> {
    if decoder.i64()? != KID {
        return Err(CoseError::Header);
    }
    let kid = decoder.bytes()?;
    kid.try_into().map_err(|_| CoseError::KeyId(kid.len()))
}

/// One certificate is a byte string, several an array of two or more (RFC 9360 section 2).
fn decode_chain(decoder: &mut Decoder<'_>) -> Result<Vec<Vec<u8>>, CoseError> {
    let length = match decoder.datatype()? {
        Type::Bytes => 1,
        _ => match decoder.array()? {
            Some(length) if (2..=MAX_CHAIN as u64).contains(&length) => length,
            _ => return Err(CoseError::Chain),
        },
    };
    (0..length)
        .map(|_| match decoder.bytes()? {
            certificate if certificate.len() <= MAX_CERTIFICATE => Ok(certificate.to_vec()),
            _ => Err(CoseError::Chain),
        })
        .collect()
}

/// The protected header.
pub(super) fn protected(kind: MessageType, signer: &Signer) -> Vec<u8> {
    let (key, chain) = match signer {
        Signer::Chain(chain) => (None, chain.as_slice()),
        Signer::Key(key) => (Some(key), [].as_slice()),
    };
    built(0, |e| {
        let further = key.is_some() || !chain.is_empty();
        e.map(if further { 3 } else { 2 })?;
        e.i64(ALG)?.i64(ES384)?;
        if let Some(key) = key {
            e.i64(KID)?.bytes(key)?;
        }
        e.i64(TYP)?.str(kind.media_type())?;
        if !chain.is_empty() {
            e.i64(X5CHAIN)?;
        }
        if chain.len() > 1 {
            e.array(chain.len() as u64)?;
        }
        for certificate in chain {
            e.bytes(certificate)?;
        }
        Ok(())
    })
}

/// The whole message.
pub(super) fn message(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    built(protected.len() + payload.len() + signature.len(), |e| {
        e.tag(minicbor::data::Tag::new(TAG))?.array(4)?;
        e.bytes(protected)?
            .map(0)?
            .bytes(payload)?
            .bytes(signature)?;
        Ok(())
    })
}

/// What the signature covers: `Sig_structure` (RFC 9052 section 4.4), external data empty.
pub(super) fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    built(protected.len() + payload.len(), |e| {
        e.array(4)?
            .str("Signature1")?
            .bytes(protected)?
            .bytes(&[])?
            .bytes(payload)?;
        Ok(())
    })
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn built(contents: usize, write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    /// Room for the heads of the few items around the contents.
    const HEADS: usize = 64;
    let mut bytes = Vec::with_capacity(contents + HEADS);
    // INVARIANT: writing to a Vec cannot fail, as the error type (`Infallible`) says.
    if let Err(error) = write(&mut Encoder::new(&mut bytes))
        && let Some(never) = error.into_write()
    {
        match never {}
    }
    bytes
}
