//! Evidence of an enclave: what it decided and did, signed inside it, each piece chained to the one before.
//!
//! An Entity Attestation Token (EAT, RFC 9711) in a COSE_Sign1 by the enclave's evidence key; deterministic CBOR:
//!
//! | claim | key | what |
//! |---|---|---|
//! | `iat` | 6 | when it was signed, in seconds since the Unix epoch, by the enclave's clock |
//! | `ueid` | 256 | `0x01` and the identity of the host's card, 32 bytes |
//! | `eat_profile` | 265 | [`PROFILE`] |
//! | - | [`STATEMENT`] | the [`Statement`] |
//!
//! | attack | answer |
//! |---|---|
//! | whoever carries it drops a piece, or puts another in its place | each has a number and the digest of the one before |
//! | a piece of before is sent again | its number was there, in its source |
//! | a piece of another host's | it names its card, and so does the certificate of its key |
//! | another message passed off as evidence | the message type is protected |
//! | a key that was certified once, found later | a certificate lasts an hour, and what is said to be older is believed from the enclave alone, over its own TLS |

mod statement;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;

use minicbor::decode::Error;
use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};

pub use statement::{Event, Guest, MAX_EVENTS, MAX_WHY, Statement, Taken, What};

use crate::boot::Sha384;
use crate::cbor::{self, CborError};
use crate::certificates::{ChainError, FleetCa, Usage, VerifiedCertificate, verify_chain};
use crate::cose::{CoseError, MessageType, Sign, SignError, Unverified, sign1};
use crate::identity::CardId;
use crate::keys::Chain;

/// The profile that evidence keeps to.
pub const PROFILE: &str = "urn:bartizan:profile:enclave-evidence:1";
/// The claim that holds the statement: private use (RFC 8392 section 9.1).
pub const STATEMENT: i64 = -70_000;
/// Largest payload in bytes.
pub const MAX_PAYLOAD: usize = 32 << 10;
/// How far evidence may be ahead of whoever verifies it, in seconds: an enclave's clock is set when its machine starts and never again,
/// and what is refused for it is lost. Certificates are judged as of no later than now in any case.
pub const MAX_AHEAD_S: u64 = 3600;

const IAT: i64 = 6;
const UEID: i64 = 256;
const EAT_PROFILE: i64 = 265;
/// RFC 9711 section 4.2.1.1: random bytes. A card's identity is a digest, which is as good.
const UEID_RAND: u8 = 1;

/// One piece of evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// When it was signed, in seconds since the Unix epoch.
    pub issued_at: u64,
    /// The host's card.
    pub card: CardId,
    /// What it says.
    pub statement: Statement,
}

/// What a piece is expected to be: the link of its chain that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Whose it is.
    pub card: CardId,
    /// Whose numbers it has.
    pub source: [u8; 16],
    /// Its number.
    pub sequence: NonZeroU64,
    /// The digest of the piece before it; `None` where that is not known.
    pub previous: Option<Sha384>,
}

/// Evidence was not verified.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It is no message of this type, or its signature is not by the key of its chain.
    #[error("the evidence is refused: {0}")]
    Message(#[from] CoseError),
    /// Its chain is no evidence key's of this fleet, at the time that it names.
    #[error("the chain of the evidence is refused: {0}")]
    Chain(#[from] ChainError),
    /// Its payload is none in the one encoding.
    #[error("the evidence is malformed: {0}")]
    Malformed(#[from] CborError),
    /// Its payload is too large.
    #[error("a payload of {0} bytes; evidence has at most {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// It is of the future.
    #[error("the evidence was signed {0} s in the future; set the host's clock")]
    Future(u64),
    /// It is another card's.
    #[error("the evidence is of card {found}, not of {expected}")]
    OtherCard {
        /// Whose is due.
        expected: CardId,
        /// Whose it is.
        found: CardId,
    },
    /// It has another place than it was sent for.
    #[error("the evidence names another place in its chain than it was sent for")]
    OtherPlace,
    /// It does not follow the piece before it.
    #[error("the evidence does not follow the piece before it")]
    Broken,
}

impl Evidence {
    /// Signs it. `chain`: of the key's certificate, leaf first.
    pub fn sign(&self, chain: &Chain, key: &impl Sign) -> Result<Vec<u8>, SignError> {
        let chain: Vec<Vec<u8>> = chain.iter().map(|one| one.to_vec()).collect();
        sign1(MessageType::Evidence, &cbor::encode(self), &chain, key)
    }

    /// Verifies a signed piece, with its certificates as of the time that it names: it may have waited for the verifier. Answers with the
    /// certificate of its key: whether that is of a boot which counts is for the caller to judge.
    ///
    /// # Errors
    /// [`EvidenceError`]: nothing of it may be believed.
    pub fn verify(
        signed: &[u8],
        expected: &Expected,
        ca: &FleetCa,
        now_s: u64,
    ) -> Result<(Self, VerifiedCertificate), EvidenceError> {
        let message = Unverified::parse(signed, MessageType::Evidence)?;
        let claimed = Self::decode(message.unverified_payload())?;
        let ahead_s = claimed.issued_at.saturating_sub(now_s);
        if ahead_s > MAX_AHEAD_S {
            return Err(EvidenceError::Future(ahead_s));
        }
        let at = claimed.issued_at.min(now_s);
        let key = verify_chain(message.chain(), ca, at, Usage::Evidence)?;
        let evidence = Self::decode(&message.verify(&key.public_key)?)?;
        let certified = key.card.unwrap_or(evidence.card);
        for found in [evidence.card, certified] {
            if found != expected.card {
                let expected = expected.card;
                return Err(EvidenceError::OtherCard { expected, found });
            }
        }
        let statement = &evidence.statement;
        if (statement.source, statement.sequence) != (expected.source, expected.sequence) {
            return Err(EvidenceError::OtherPlace);
        }
        // The first has none before it, and every other one has.
        let is_first = statement.sequence == NonZeroU64::MIN;
        let follows = expected.previous.is_none() || statement.previous == expected.previous;
        if follows && statement.previous.is_none() == is_first {
            Ok((evidence, key))
        } else {
            Err(EvidenceError::Broken)
        }
    }

    /// What a signed piece says, without looking at who signed it: for one that was verified when it came.
    ///
    /// # Errors
    /// It is no signed piece.
    pub fn unverified(signed: &[u8]) -> Result<Self, EvidenceError> {
        let message = Unverified::parse(signed, MessageType::Evidence)?;
        Self::decode(message.unverified_payload())
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is too large, or none in the one encoding.
    pub fn decode(payload: &[u8]) -> Result<Self, EvidenceError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(EvidenceError::TooLarge(payload.len()));
        }
        Ok(cbor::decode_strict(payload)?)
    }

    /// The digest by which the next piece is chained to this one.
    #[must_use]
    pub fn digest(signed: &[u8]) -> Sha384 {
        Sha384::of(signed)
    }
}

impl<C> Encode<C> for Evidence {
    fn encode<W: Write>(
        &self,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut ueid = [UEID_RAND; 33];
        // INVARIANT: 32 bytes behind the first.
        for (to, from) in ueid.iter_mut().skip(1).zip(self.card.0) {
            *to = from;
        }
        to.map(4)?;
        to.i64(IAT)?.u64(self.issued_at)?;
        to.i64(UEID)?.bytes(&ueid)?;
        to.i64(EAT_PROFILE)?.str(PROFILE)?;
        to.i64(STATEMENT)?.encode_with(&self.statement, context)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Evidence {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        if from.map()? != Some(4) {
            return Err(Error::message("evidence has four claims"));
        }
        due(from, IAT)?;
        let issued_at = from.u64()?;
        due(from, UEID)?;
        let ueid = from.bytes()?;
        let [UEID_RAND, card @ ..] = ueid else {
            return Err(Error::message("a ueid of another type"));
        };
        let card = card
            .try_into()
            .map_err(|_| Error::message("a ueid of 33 bytes is due"))?;
        due(from, EAT_PROFILE)?;
        if from.str()? != PROFILE {
            return Err(Error::message("another profile"));
        }
        due(from, STATEMENT)?;
        Ok(Self {
            issued_at,
            card: CardId(card),
            statement: from.decode_with(context)?,
        })
    }
}

fn due(from: &mut Decoder<'_>, claim: i64) -> Result<(), Error> {
    if from.i64()? == claim {
        Ok(())
    } else {
        Err(Error::message("a claim that is not due"))
    }
}
