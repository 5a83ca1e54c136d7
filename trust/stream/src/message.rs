//! What is said, as types that can only be right.
//!
//! | up, to the verifier | down, to the enclave |
//! |---|---|
//! | [`Hello`], once, first | [`Down::EvidenceKept`], first |
//! | [`Up::Evidence`] | [`Down::PolicySet`] |
//! | [`Up::PolicyInForce`], [`Up::PolicyRefused`] | [`Down::Appraisal`] |
//! | [`Up::CommandDone`] | [`Down::Command`] |
//!
//! Fields that a message has and this version does not know are refused, and so is each other encoding of the same: what is
//! believed is all that was said.
//!
//! Known attack: *a small message that becomes a large one*, a megabyte of empty entries of a list. Fields are counted before
//! anything is made of them.

use std::num::NonZeroU64;

use prost::Message as _;
use prost::bytes::Bytes;

mod bounded;
mod down;
mod error;
mod parts;
mod shape;
#[cfg(test)]
mod tests;
mod up;
mod words;

pub use bounded::{Detail, Evidence, GuestPolicies, PolicySet};
pub use error::MessageError;
pub use up::Said;

/// A guest of the host in one boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Guest {
    /// The VM's UUID.
    pub vm: [u8; 16],
    /// Its boot counter.
    pub boot: u64,
}

/// Which sealed state of which enclave sequence numbers are of: drawn when that state was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source(pub [u8; 16]);

/// A set of policies by number and digest. The number rises with each change of the set at the verifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldSet {
    /// Its number, from 1.
    pub number: NonZeroU64,
    /// SHA-384 over the set in its one encoding: `bartizan_policy::PolicySet::digest`.
    pub digest: [u8; 48],
}

/// The first message up: what the enclave has, and where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Whose sequence numbers these are.
    pub source: Source,
    /// The evidence that the enclave still has.
    pub span: Span,
    /// The set that is in force; `None` if none was confirmed to be since the enclave was started.
    pub in_force: Option<HeldSet>,
    /// The number of the last command that it took; 0 if it took none.
    pub last_command: u64,
}

/// Which sequence numbers of evidence a sender still has: those from `oldest` on, before `next`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    oldest: NonZeroU64,
    next: NonZeroU64,
}

impl Span {
    /// The numbers from `oldest` on, before `next`; `None` if the one is above the other.
    #[must_use]
    pub fn new(oldest: NonZeroU64, next: NonZeroU64) -> Option<Self> {
        (oldest <= next).then_some(Self { oldest, next })
    }

    /// None, before `next`.
    #[must_use]
    pub const fn empty(next: NonZeroU64) -> Self {
        Self { oldest: next, next }
    }

    /// The oldest that it may be asked for, or `next` if it has none.
    #[must_use]
    pub const fn oldest(&self) -> NonZeroU64 {
        self.oldest
    }

    /// The one that is made next.
    #[must_use]
    pub const fn next(&self) -> NonZeroU64 {
        self.next
    }
}

/// What an enclave says after its [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Up {
    /// Evidence, in the order of its numbers without gaps.
    Evidence(Evidence),
    /// A set is in force: no packet is judged by another any more.
    PolicyInForce {
        /// The set.
        set: HeldSet,
        /// What of it is in force for which guest.
        guests: GuestPolicies,
    },
    /// A set was not taken; what was in force still is.
    PolicyRefused {
        /// Which.
        number: NonZeroU64,
        /// Why.
        reason: RefusalReason,
        /// Why, for people.
        detail: Detail,
    },
    /// A command was taken, and came to this.
    CommandDone {
        /// Which.
        number: NonZeroU64,
        /// What it came to.
        outcome: CommandOutcome,
        /// The same for people.
        detail: Detail,
    },
}

/// What an enclave is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Down {
    /// All evidence up to this number is durable: it need not be kept any more. 0 if none is. The first message down.
    EvidenceKept(u64),
    /// The policies that shall be in force. Whoever sends them can have left some out or kept newer ones back, no more: each is
    /// signed by its author.
    PolicySet(PolicySet),
    /// What the verifier last came to on a guest.
    Appraisal {
        /// The guest.
        guest: Guest,
        /// Whether it is trusted.
        trust: Trust,
    },
    /// Something to be done at once.
    Command {
        /// From 1; rises, so that none is done twice.
        number: NonZeroU64,
        /// What.
        kind: CommandKind,
        /// To whom; the boot 0 is whichever runs.
        guest: Guest,
    },
}

/// What is in force for a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestPolicy {
    /// The guest.
    pub guest: Guest,
    /// SHA-384 of what of the set is in force for it.
    pub digest: [u8; 48],
}

/// Why a set was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RefusalReason {
    /// Its number is not above that of the set in force, or a policy's serial below one that was.
    Rollback,
    /// A policy is signed by nobody who may, or outside their scope.
    Author,
    /// A policy is none.
    Malformed,
    /// The enclave could not apply it, or not keep it.
    Failed,
}

/// What a command came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommandOutcome {
    /// It was done.
    Done,
    /// There is no such guest.
    NoGuest,
    /// It could not be done.
    Failed,
}

/// Whether a guest is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trust {
    /// Nothing is known of it.
    None,
    /// Its last appraisal affirms.
    Affirming,
    /// Its last appraisal contradicts what it should be.
    Contraindicated,
}

/// What can be ordered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommandKind {
    /// Cut the guest from every network, whatever its policy allows, in this boot and in those that come.
    Isolate,
    /// Take that back.
    Release,
}

/// Reads a message to the verifier.
///
/// # Errors
/// It is none.
pub fn read_up(message: &Bytes) -> Result<Said, MessageError> {
    Said::decode(message)
}

/// Its one encoding.
#[must_use]
pub fn write_up(said: &Said) -> Bytes {
    said.to_wire().encode_to_vec().into()
}

/// Reads a message to the enclave.
///
/// # Errors
/// It is none.
pub fn read_down(message: &Bytes) -> Result<Down, MessageError> {
    Down::decode(message)
}

/// Its one encoding.
#[must_use]
pub fn write_down(said: &Down) -> Bytes {
    said.to_wire().encode_to_vec().into()
}
