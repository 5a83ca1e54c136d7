//! What the verifier wishes, until the card has kept what comes of it.

use std::collections::BTreeSet;

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

#[derive(Debug)]
pub(super) enum What {
    /// That a set rules.
    Rule(PolicySet),
    /// That a command stays done, with the VMs that are isolated since.
    Keep(Command, BTreeSet<[u8; 16]>),
    /// To be told this, after what was wished before.
    Say(Up),
}

/// What is done once something is kept.
#[derive(Debug)]
pub(super) enum Then {
    Rules(Stream, Taken),
    Answers(Answer),
}

/// An answer to a stream's wish.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) stream: Stream,
    pub(super) up: Up,
}
