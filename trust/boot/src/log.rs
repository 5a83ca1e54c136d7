//! The event log, in the TCG's Canonical Event Log Format 1.0: what was extended, so that registers can be understood.
//!
//! A record is `{recnum, pcr, digests, content_type, content}`. The content is of type `pcclient_std`: an `EV_EVENT_TAG` (TCG PC
//! Client Platform Firmware Profile, section 10.4.1), its data the tag and size of a `TCG_PCClientTaggedEvent`, then
//! [`crate::Measured`] as deterministic CBOR. The one digest is SHA-384 over that CBOR.

mod json;
mod record;

use bartizan_cose::cbor::{self, CborError};

use crate::{Event, Register, RegisterValues, Sha384};
use record::Record;

/// The events of one boot, from its first on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventLog {
    events: Vec<Event>,
}

/// A log that is none, or does not explain the registers.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It is larger than allowed.
    #[error("an event log has at most {} bytes", EventLog::MAX_LEN)]
    TooLarge,
    /// It is no log.
    #[error("not a canonical event log: {0}")]
    Malformed(#[from] CborError),
    /// It is no JSON.
    #[error("not a canonical event log in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A record is not of the form that this software writes.
    #[error("record {index} of the event log: {what}")]
    Record {
        /// Its position, from 0 on.
        index: usize,
        /// What is wrong.
        what: RecordError,
    },
    /// It does not replay to a register: an event was dropped, swapped, added or changed.
    #[error(
        "the event log does not replay to the {} register: expected {expected}, found {found}",
        .register.name()
    )]
    Replay {
        /// Which register.
        register: Register,
        /// What the log makes of it.
        expected: Sha384,
        /// What it holds.
        found: Sha384,
    },
}

/// What can be wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not numbered as its position says.
    #[error("its number is not its position")]
    Number,
    /// It names another register.
    #[error("it is of a register that is none of the boot's")]
    Register,
    /// Its digests are not exactly one of SHA-384.
    #[error("it must have one digest, of SHA-384")]
    Digests,
    /// Its digest is another than its content's.
    #[error("its digest is not that of its content")]
    Digest,
    /// Its content is of another type or malformed.
    #[error("its content is no tagged event of a Bartizan boot")]
    Content,
}

impl EventLog {
    /// Largest log in bytes of CBOR.
    pub const MAX_LEN: usize = 2 << 20;

    /// A log of these events.
    #[must_use]
    pub const fn new(events: Vec<Event>) -> Self {
        Self { events }
    }

    /// Its events, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds an event at its end.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The registers after these events.
    #[must_use]
    pub fn replay(&self) -> RegisterValues {
        let mut registers = RegisterValues::ZERO;
        for event in &self.events {
            registers.extend(event.register, &event.digest());
        }
        registers
    }

    /// Whether it replays to what the registers hold.
    pub fn explains(&self, registers: &RegisterValues) -> Result<(), LogError> {
        let replayed = self.replay();
        for register in [Register::Measurement, Register::Authority] {
            let (expected, found) = (replayed.of(register), registers.of(register));
            if expected != found {
                return Err(LogError::Replay {
                    register,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// CEL-CBOR: an array of records.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        cbor::encode(&self.records())
    }

    /// Reads CEL-CBOR, in its one deterministic encoding.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(LogError::TooLarge);
        }
        Self::from_records(&cbor::decode_strict::<Vec<Record>>(bytes)?)
    }

    /// CEL-JSON: an array of records, binary in lower-case hexadecimal.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json::write(&self.records())
    }

    /// Reads CEL-JSON.
    pub fn from_json(text: &str) -> Result<Self, LogError> {
        // Hexadecimal and names make it longer than CBOR, by less than this.
        if text.len() > 8 * Self::MAX_LEN {
            return Err(LogError::TooLarge);
        }
        Self::from_records(&json::read(text)?)
    }

    fn records(&self) -> Vec<Record> {
        (0..).zip(&self.events).map(Record::of).collect()
    }

    fn from_records(records: &[Record]) -> Result<Self, LogError> {
        let event = |(index, record): (usize, &Record)| {
            let read = record.event(index);
            read.map_err(|what| LogError::Record { index, what })
        };
        let events = records.iter().enumerate().map(event);
        Ok(Self::new(events.collect::<Result<_, _>>()?))
    }
}
