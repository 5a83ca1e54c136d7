//! What is remembered of a flow that is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::Flow;

/// Most that are remembered of one guest.
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

/// The newest records of one guest.
#[derive(Debug, Default)]
pub(super) struct Records(VecDeque<Record>);

impl Records {
    pub(super) fn keep(&mut self, record: Record) {
        tracing::debug!(?record, "a flow is over");
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }

    /// From the oldest on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }
}
