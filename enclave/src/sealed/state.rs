//! What is in the state, and its one encoding: deterministic CBOR.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cbor::{self, CborError, at_most};
use bartizan_policy::Seen;
use bartizan_stream::Bytes;
use bartizan_stream::limits::{MAX_EVIDENCE, MAX_POLICIES};
use bartizan_stream::message::{CommandOutcome, MessageError, PolicySet, Source};
use bartizan_stream::resume::OutboxLimits;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

/// Most VMs that are cut from every network.
pub const MAX_ISOLATED: usize = 4096;
/// How much evidence waits for the verifier.
pub const EVIDENCE_LIMITS: OutboxLimits = OutboxLimits {
    pieces: 64,
    bytes: 256 << 10,
};
/// The version of the encoding.
const VERSION: u32 = 1;

/// What this enclave knows, and the next one is to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Whose numbers those of evidence are.
    pub source: Source,
    /// No evidence has this number, nor one above.
    pub next: NonZeroU64,
    /// SHA-384 over the last piece of evidence; `None` before the first.
    pub previous: Option<Sha384>,
    /// Evidence that the verifier was not known to have, in the order of its numbers, the last of which is before `next`.
    pub waiting: Vec<Bytes>,
    /// The set that rules, as it came.
    pub set: Option<PolicySet>,
    /// The latest issue of each policy that ever was in force.
    pub seen: Seen,
    /// The last command that was done.
    pub command: Option<Command>,
    /// The VMs that are cut from every network, whatever boot they are in.
    pub isolated: BTreeSet<[u8; 16]>,
}

/// A command, and what it came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its number.
    pub number: NonZeroU64,
    /// What it came to.
    pub outcome: CommandOutcome,
}

/// Bytes are no state.
#[derive(Debug, thiserror::Error)]
pub enum NoState {
    /// Not one in its one encoding.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// It is of a version that is not read here.
    #[error("a state of version {0}; this is version {VERSION}")]
    Version(u32),
    /// Its policies are none that a set can have.
    #[error(transparent)]
    Set(#[from] MessageError),
    /// Evidence is no chain that ends before the next number.
    #[error("waiting evidence does not lead up to the next number")]
    Evidence,
    /// VMs are not in their order, or twice there.
    #[error("isolated VMs are not in their order")]
    Order,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Written {
    #[n(0)]
    version: u32,
    #[cbor(n(1), with = "minicbor::bytes")]
    source: [u8; 16],
    #[n(2)]
    next: NonZeroU64,
    #[n(3)]
    set: Option<WrittenSet>,
    #[n(4)]
    seen: Seen,
    #[n(5)]
    command: Option<WrittenCommand>,
    #[cbor(n(6), decode_with = "at_most_isolated")]
    isolated: Vec<ByteArray<16>>,
    // Left out by enclaves that made no evidence.
    #[n(7)]
    evidence: Option<WrittenEvidence>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WrittenEvidence {
    #[n(0)]
    previous: Sha384,
    #[cbor(n(1), decode_with = "at_most_pieces")]
    waiting: Vec<ByteVec>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WrittenSet {
    #[n(0)]
    number: NonZeroU64,
    #[cbor(n(1), decode_with = "at_most_policies")]
    policies: Vec<ByteVec>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WrittenCommand {
    #[n(0)]
    number: NonZeroU64,
    #[n(1)]
    outcome: WrittenOutcome,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum WrittenOutcome {
    #[n(0)]
    Done,
    #[n(1)]
    NoGuest,
    #[n(2)]
    Failed,
}

fn at_most_isolated<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<ByteArray<16>>, Error> {
    at_most::<{ MAX_ISOLATED as u64 }, C, ByteArray<16>>(from, context)
}

fn at_most_pieces<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Vec<ByteVec>, Error> {
    at_most::<{ EVIDENCE_LIMITS.pieces as u64 }, C, ByteVec>(from, context)
}

fn at_most_policies<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Vec<ByteVec>, Error> {
    at_most::<{ MAX_POLICIES as u64 }, C, ByteVec>(from, context)
}

impl State {
    /// Nothing: that of an enclave that starts for the first time. `source` was never anybody's before.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            next: NonZeroU64::MIN,
            previous: None,
            waiting: Vec::new(),
            set: None,
            seen: Seen::default(),
            command: None,
            isolated: BTreeSet::new(),
        }
    }

    /// Reads one. Memory stays within a small multiple of `bytes`, whose length the caller bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoState> {
        let written: Written = cbor::decode_strict(bytes)?;
        if written.version != VERSION {
            return Err(NoState::Version(written.version));
        }
        if !written.isolated.is_sorted_by(|one, next| **one < **next) {
            return Err(NoState::Order);
        }
        let (previous, waiting) = evidence(written.next, written.evidence)?;
        let set = written.set.map(|set| {
            let policies = set.policies.into_iter();
            PolicySet::new(
                set.number,
                policies.map(|of| Bytes::from(Vec::from(of))).collect(),
            )
        });
        Ok(Self {
            source: Source(written.source),
            next: written.next,
            previous,
            waiting,
            set: set.transpose()?,
            seen: written.seen,
            command: written.command.map(|of| Command {
                number: of.number,
                outcome: of.outcome.into(),
            }),
            isolated: written.isolated.into_iter().map(|vm| *vm).collect(),
        })
    }

    /// Its one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&Written {
            version: VERSION,
            source: self.source.0,
            next: self.next,
            set: self.set.as_ref().map(|set| WrittenSet {
                number: set.number(),
                policies: set.signed().iter().map(|of| of.to_vec().into()).collect(),
            }),
            seen: self.seen.clone(),
            command: self.command.map(|of| WrittenCommand {
                number: of.number,
                outcome: of.outcome.into(),
            }),
            isolated: self.isolated.iter().map(|vm| (*vm).into()).collect(),
            evidence: self.previous.map(|previous| WrittenEvidence {
                previous,
                waiting: self.waiting.iter().map(|of| of.to_vec().into()).collect(),
            }),
        })
    }
}

/// The last piece's digest, and those that wait.
fn evidence(
    next: NonZeroU64,
    written: Option<WrittenEvidence>,
) -> Result<(Option<Sha384>, Vec<Bytes>), NoState> {
    let Some(WrittenEvidence { previous, waiting }) = written else {
        return Ok((None, Vec::new()));
    };
    let waiting: Vec<_> = waiting
        .into_iter()
        .map(Vec::from)
        .map(Bytes::from)
        .collect();
    let last = waiting.last();
    let is_chained = last.is_none_or(|last| Sha384::of(last) == previous);
    let bytes: usize = waiting.iter().map(Bytes::len).sum();
    let is_piece = |piece: &Bytes| (1..=MAX_EVIDENCE).contains(&piece.len());
    let fits = bytes <= EVIDENCE_LIMITS.bytes && waiting.iter().all(is_piece);
    if is_chained && fits && next.get() > 1 && (waiting.len() as u64) < next.get() {
        Ok((Some(previous), waiting))
    } else {
        Err(NoState::Evidence)
    }
}

impl From<WrittenOutcome> for CommandOutcome {
    fn from(of: WrittenOutcome) -> Self {
        match of {
            WrittenOutcome::Done => Self::Done,
            WrittenOutcome::NoGuest => Self::NoGuest,
            WrittenOutcome::Failed => Self::Failed,
        }
    }
}

impl From<CommandOutcome> for WrittenOutcome {
    fn from(of: CommandOutcome) -> Self {
        match of {
            CommandOutcome::Done => Self::Done,
            CommandOutcome::NoGuest => Self::NoGuest,
            CommandOutcome::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
