//! What the verifier wishes, until the card has kept what comes of it.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use bartizan_stream::Bytes;
use bartizan_stream::message::{PolicySet, Up};

use super::held::Stream;
use super::taking::Taken;
use crate::sealed::Command;

/// A wish.
#[derive(Debug)]
pub(super) struct Wish {
    /// Of which stream: another one does not wait for an answer.
    pub(super) stream: Stream,
    pub(super) what: What,
}

impl Wish {
    /// The number of the set that is to rule, if one is.
    pub(super) fn set(&self) -> Option<NonZeroU64> {
        match &self.what {
            What::Rule(set) => Some(set.number()),
            What::Keep(_) | What::Say(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) enum What {
    /// That a set rules.
    Rule(PolicySet),
    /// That a command stays done.
    Keep(KeptCommand),
    /// To be told this, after what was wished before.
    Say(Up),
}

/// A VM, by its UUID.
pub(super) type Vm = [u8; 16];

/// A command that was done.
#[derive(Debug)]
pub(super) struct KeptCommand {
    pub(super) command: Command,
    /// What it is about.
    pub(super) vm: Vm,
    /// The VMs that are isolated since.
    pub(super) isolated: BTreeSet<Vm>,
}

/// What is done once something is kept.
#[derive(Debug)]
pub(super) enum Then {
    Rules(Stream, Taken),
    /// Evidence may be sent.
    Sends(Vec<Bytes>),
    Answers(Answer),
    /// Once devices have confirmed what was done to the VM, this is answered.
    Settles(Vm, Answer),
}

/// An answer to a stream's wish.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) stream: Stream,
    pub(super) up: Up,
}
