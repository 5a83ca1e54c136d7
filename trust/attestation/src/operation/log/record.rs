//! One line of the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Head, MAX_RECORD};
use crate::certificates::Role;
use crate::operation::{OperationRefusal, SignedOrder};

/// Most characters of an explanation that is logged.
const MAX_DETAIL: usize = 500;

/// A record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number, from 0.
    pub index: u64,
    /// When it was written, in seconds since the Unix epoch: never less than the record before says.
    pub at_s: u64,
    /// SHA-384 of the line before it, lower-case hexadecimal.
    pub previous: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The log begins. No order from before is done, since nobody would know whether it was already.
    Opened {
        /// The log that was put aside for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<SetAside>,
    },
    /// An operation begins; this is on disk before it does.
    Begun {
        /// Who ordered it.
        operator: String,
        /// What they may do.
        role: Role,
        /// Its name.
        operation: String,
        /// Its arguments.
        arguments: BTreeMap<String, String>,
        /// SHA-256 of the signed order.
        order_sha256: String,
        /// The order's nonce.
        nonce: String,
        /// When the order expires, in seconds since the Unix epoch.
        expires_at: u64,
    },
    /// An operation has ended.
    Ended {
        /// The number of its beginning.
        begun: u64,
        /// How.
        outcome: Outcome,
    },
    /// An order was refused.
    Refused {
        /// The user that handed it in.
        uid: u32,
        /// Who signed it, where somebody of this fleet did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<String>,
        /// What it was for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<String>,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        arguments: BTreeMap<String, String>,
        /// Why, in a word.
        reason: String,
        /// Why.
        detail: String,
    },
    /// More orders were refused than are written down one by one.
    MoreRefused {
        /// Whose, where somebody of this fleet had signed them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<String>,
        /// How many.
        count: u64,
    },
}

/// A log that was put aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAside {
    /// Its file; none where that was gone.
    pub file: Option<AsideFile>,
    /// Where it ended, as its head said; none where that was not readable.
    pub head: Option<Head>,
}

/// A file with a log that was put aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsideFile {
    /// Its name, in the same folder.
    pub name: String,
    /// SHA-384 of all of it, lower-case hexadecimal.
    pub sha384: String,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was done: so much of what guests do was shown.
    Shown {
        /// How much.
        detail: String,
    },
    /// It was not done.
    Refused {
        /// Why.
        detail: String,
    },
    /// Whoever was to do it has not answered: what came of it is not known.
    Unknown {
        /// Why.
        detail: String,
    },
    /// The card ended meanwhile: what came of it is not known.
    Interrupted,
}

impl Record {
    /// Reads a line without its end; none where it is no record in its one spelling.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.len() > MAX_RECORD {
            return None;
        }
        let record: Self = serde_json::from_slice(line).ok()?;
        (record.line()? == line).then_some(record)
    }

    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }
}

impl Event {
    /// That an order's operation begins.
    #[must_use]
    pub fn begun(signed: &SignedOrder) -> Self {
        let order = signed.order();
        Self::Begun {
            operator: signed.operator().into(),
            role: signed.role(),
            operation: order.operation.name().into(),
            arguments: order.operation.arguments(),
            order_sha256: hex::encode(signed.sha256()),
            nonce: hex::encode(&*order.nonce),
            expires_at: order.expires_at,
        }
    }

    /// That an order was refused; `signed` where somebody of this fleet had signed it.
    #[must_use]
    pub fn refused(signed: Option<&SignedOrder>, refusal: &OperationRefusal, uid: u32) -> Self {
        let operation = signed.map(|signed| &signed.order().operation);
        Self::Refused {
            uid,
            operator: signed.map(|signed| signed.operator().into()),
            operation: operation.map(|operation| operation.name().into()),
            arguments: operation.map_or_else(BTreeMap::new, super::super::Operation::arguments),
            reason: refusal.word().into(),
            detail: shortened(&refusal.to_string()),
        }
    }
}

impl Outcome {
    /// That it was not done.
    #[must_use]
    pub fn refused(why: &str) -> Self {
        let detail = shortened(why);
        Self::Refused { detail }
    }

    /// That so much was shown.
    #[must_use]
    pub fn shown(what: &str) -> Self {
        let detail = shortened(what);
        Self::Shown { detail }
    }

    /// That it is not known whether it was done.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        let detail = shortened(why);
        Self::Unknown { detail }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_DETAIL).collect()
}
