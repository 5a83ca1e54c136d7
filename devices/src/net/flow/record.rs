//! What is remembered of a flow that is over, until it is told.

use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::Flow;

/// Most of one guest that wait to be told.
const MOST: usize = 1024;

/// A flow that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which.
    pub flow: Flow,
    /// When its first packet came.
    pub began: Instant,
    /// When its last one did.
    pub last: Instant,
    /// Bytes of the guest's that passed, in whole frames.
    pub sent: u64,
    /// Bytes for the guest that passed, in whole frames.
    pub received: u64,
    /// What was decided last.
    pub allowed: bool,
    /// By which rule; none where nothing was decided.
    pub reason: Option<Arc<str>>,
}

/// The flows of one guest that are over since this was asked last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Records {
    /// From the oldest on.
    pub kept: Vec<Record>,
    /// How many there was no room for.
    pub lost: u64,
}

impl Records {
    pub(super) fn keep(&mut self, record: Record) {
        if self.kept.len() < MOST {
            self.kept.push(record);
        } else {
            self.lost += 1;
        }
    }
}
