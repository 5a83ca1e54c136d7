//! The log of operations: append-only, one JSON object a line, each with the SHA-384 of the line before it.
//!
//! Whoever reads it follows it from the beginning: an edited record no longer has the hash that the next one names, and the last one
//! is named by the [`Head`], which is kept in another place. So a record that was edited, cut out, moved or inserted is noticed, and so is a
//! log that ends early. What this proves: that no part of log and head was changed alone. Whoever may write both can write another log.

mod record;

pub use record::{AsideFile, Event, Outcome, Record, SetAside};

use aws_lc_rs::digest::{SHA384, digest};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Most records in a piece of the log.
pub const MAX_PAGE: u32 = 1000;

/// Longest record, in bytes.
pub const MAX_RECORD: usize = 4 << 10;

/// Where a log ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
#[cbor(map)]
pub struct Head {
    /// How many records it has.
    #[n(0)]
    pub count: u64,
    /// SHA-384 of the last one, lower-case hexadecimal; 96 zeros where there is none.
    #[n(1)]
    pub sha384: String,
}

/// A log that is not what was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// A record cannot be read.
    #[error("record {0} is no record")]
    Malformed(u64),
    /// A record is not the one that the next one, or the head, names.
    #[error("record {0} was changed")]
    Changed(u64),
    /// A record of another number is in a record's place.
    #[error("record {expected} is not there; in its place is {found}")]
    Misplaced {
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A record is there that the head does not know of.
    #[error("record {0} was added")]
    Added(u64),
    /// The log ends early.
    #[error("records {found} to {} are not there: the log ends early", expected.saturating_sub(1))]
    Truncated {
        /// How many there were.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// A log was put aside, and there is none that names it.
    #[error("{0} was put aside, and there is no log that names it")]
    Unnamed(String),
    /// There is a log without its head, or a head that cannot be read.
    #[error("the head, which names the last record, is not there or unreadable")]
    NoHead,
}

impl Head {
    /// The head of a log without records.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            count: 0,
            sha384: "0".repeat(96),
        }
    }

    /// The head after one more line, whatever it says.
    #[must_use]
    pub fn after(&self, line: &[u8]) -> Self {
        Self {
            count: self.count.saturating_add(1),
            sha384: hex::encode(digest(&SHA384, line)),
        }
    }

    /// Reads the next record, a line without its end, and moves behind it.
    pub fn follow(&mut self, line: &[u8]) -> Result<Record, LogError> {
        let record = Record::parse(line).ok_or(LogError::Malformed(self.count))?;
        if record.index != self.count {
            return Err(LogError::Misplaced {
                expected: self.count,
                found: record.index,
            });
        }
        // The first names what came before this log, if anything did.
        if self.count > 0 && record.previous != self.sha384 {
            return Err(LogError::Changed(self.count - 1));
        }
        *self = self.after(line);
        Ok(record)
    }
}

#[cfg(test)]
mod tests;
