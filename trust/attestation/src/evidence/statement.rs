//! What an enclave states.

use std::num::NonZeroU64;

use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

use crate::boot::Sha384;
use crate::cbor::at_most;

/// Most events of one piece.
pub const MAX_EVENTS: usize = 32;
/// Longest reason, in bytes: two names of 128 bytes and what is between them fit.
pub const MAX_WHY: usize = 320;

/// A piece's place in its chain, and what happened since the one before.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// Whose numbers these are: made at random when an enclave's state begins.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub source: [u8; 16],
    /// Its number: one more than that of the piece before it; the first is 1.
    #[n(1)]
    pub sequence: NonZeroU64,
    /// SHA-384 over the signed piece before it; the first has none.
    #[n(2)]
    pub previous: Option<Sha384>,
    /// What happened, at most [`MAX_EVENTS`]; what is counted comes last.
    #[cbor(n(3), decode_with = "at_most_events")]
    pub events: Vec<Event>,
    /// Events that there was no room for.
    #[n(4)]
    pub dropped: u64,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// When, in seconds since the Unix epoch; of several alike, the first.
    #[n(0)]
    pub at: u64,
    /// What.
    #[n(1)]
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum What {
    /// The enclave's machine was started, and goes on from what was kept.
    #[n(0)]
    Started {
        /// The set of policies that rules from the first on; `None` where there is none and everything is denied.
        #[n(0)]
        set: Option<NonZeroU64>,
    },
    /// A set of policies rules: every packet of every guest is judged by it.
    #[n(1)]
    InForce {
        /// Its number.
        #[n(0)]
        set: NonZeroU64,
        /// Its digest.
        #[n(1)]
        digest: Sha384,
    },
    /// A set was refused; what ruled rules on.
    #[n(2)]
    SetRefused {
        /// Its number.
        #[n(0)]
        set: NonZeroU64,
        /// Why, at most [`MAX_WHY`] bytes, printable.
        #[cbor(n(1), decode_with = "short")]
        why: String,
    },
    /// A VM is cut from every network, or not any more, as it was ordered: devices have confirmed it.
    #[n(3)]
    Isolation {
        /// Which: a UUID.
        #[cbor(n(0), with = "minicbor::bytes")]
        vm: [u8; 16],
        /// Whether it is cut.
        #[n(1)]
        isolated: bool,
        /// The order's number.
        #[n(2)]
        order: NonZeroU64,
    },
    /// A guest is taken for something else than before.
    #[n(4)]
    Trust {
        /// Which.
        #[n(0)]
        guest: Guest,
        /// What for.
        #[n(1)]
        taken_for: Taken,
    },
    /// Decisions that denied flows of a guest. One decision may hold for many flows.
    #[n(5)]
    Denied {
        /// Of whom.
        #[n(0)]
        guest: Guest,
        /// How many.
        #[n(1)]
        decisions: NonZeroU64,
        /// The rule (`POLICY/RULE`), or why none did, at most [`MAX_WHY`] bytes, printable.
        #[cbor(n(2), decode_with = "short")]
        by: String,
    },
}

/// A guest in one boot of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Guest {
    /// Its VM's UUID.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub vm: [u8; 16],
    /// Which boot.
    #[n(1)]
    pub boot: u64,
}

/// What a guest is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Taken {
    /// Nothing was found out.
    #[n(0)]
    None,
    /// It was last affirmed.
    #[n(1)]
    Affirming,
    /// It was last contraindicated.
    #[n(2)]
    Contraindicated,
}

fn at_most_events<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Vec<Event>, Error> {
    at_most::<{ MAX_EVENTS as u64 }, C, Event>(from, context)
}

fn short<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
    match from.str()? {
        // Known attack: a reason with a line break in it is shown as another event.
        why if why.chars().any(char::is_control) => {
            Err(Error::message("a reason is not printable"))
        }
        why if why.len() <= MAX_WHY => Ok(why.to_owned()),
        _ => Err(Error::message("a reason is too long")),
    }
}
