//! The log of operations on disk, which is also the memory of what was done: an order is refused that it names, across restarts too.
//!
//! Known attack: the clock is set back, or the log put away, so that an order that was done is in its window again. So time never goes
//! back behind the newest record, and no order is done that is older than the log's first.

mod file;
mod set_aside;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bartizan_attestation::operation::log::{Event, Head, LogError, Outcome, Record};
use bartizan_attestation::operation::{AuthorisedOperation, OperationRefusal, Order, SignedOrder};
use minicbor::bytes::ByteVec;

use super::refusals::Refusals;
use crate::allowance::{Allowance, Rate};
use file::{Files, LogFile};

pub use file::LogFileError;
pub(super) use set_aside::set_aside;
pub use set_aside::{Aside, Clock};

/// Orders of one operator: each is in the log for ever, whatever the least role of an operator may do.
const ORDERS: Rate = Rate {
    at_once: 4096,
    pause_s: 5,
};

/// The log. One process has it at a time.
#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
    /// Held while the log is read, which the writing does not wait for.
    reading: Mutex<()>,
    /// Also of a broken one.
    _lock: File,
}

#[derive(Debug)]
enum State {
    Kept(Box<Kept>),
    /// Nothing is done, nor written, until it was put aside.
    Broken(LogError),
}

#[derive(Debug)]
struct Kept {
    file: LogFile,
    memory: Memory,
    refusals: Refusals,
}

/// What follows from the records.
#[derive(Debug, Default)]
struct Memory {
    /// Orders that were issued before are not done.
    orders_from_s: u64,
    /// What the newest record says.
    latest_s: u64,
    /// Operators and nonces of orders that were done, and when they expire.
    used: BTreeMap<(String, String), u64>,
    /// How many more orders of an operator there may be.
    orders: BTreeMap<String, Allowance>,
    /// What has begun and not ended.
    under_way: Vec<u64>,
}

/// Proof that an operation's beginning is on disk. Made by [`Log::begin`] only.
#[derive(Debug)]
pub(super) struct Begun(u64);

impl Log {
    /// Opens the log in a folder, or begins one. Where it is not what was written the card serves on, and does no operation.
    pub(super) fn open(state_dir: &Path, now_s: u64) -> Result<Self, LogFileError> {
        let mut memory = Memory::default();
        let files = Files::of(state_dir);
        let lock = files.lock()?;
        set_aside::if_wanted(&files, now_s);
        let opened = LogFile::open(state_dir, |record| memory.learn(record));
        let state = match opened {
            Ok(file) => {
                let refusals = Refusals::default();
                let mut kept = Kept {
                    file,
                    memory,
                    refusals,
                };
                kept.begin_serving(now_s)?;
                State::Kept(Box::new(kept))
            }
            Err(LogFileError::Broken(error)) => {
                tracing::error!(%error, "the log of operations is broken: no operation is done");
                State::Broken(error)
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            state: Mutex::new(state),
            reading: Mutex::default(),
            _lock: lock,
        })
    }

    /// The time that orders are held against: the clock's, or the newest record's where that is later.
    pub(super) fn not_before(&self, now_s: u64) -> u64 {
        match &*self.state() {
            State::Kept(kept) => kept.memory.latest_s.max(now_s),
            State::Broken(_) => now_s,
        }
    }

    /// Writes the beginning of an operation down, unless its order was used.
    pub(super) fn begin(
        &self,
        authorised: AuthorisedOperation<'_>,
        now_s: u64,
    ) -> Result<Begun, OperationRefusal> {
        self.with(|kept| {
            let signed = authorised.signed();
            kept.memory.check_unused(signed, now_s)?;
            Ok(Begun(kept.append(Event::begun(signed), now_s)?))
        })
    }

    /// Writes the end of an operation down.
    pub(super) fn end(&self, Begun(begun): Begun, outcome: Outcome, now_s: u64) {
        let ended = self.with(|kept| Ok(kept.append(Event::Ended { begun, outcome }, now_s)?));
        if let Err(error) = ended {
            tracing::error!(begun, %error, "the end of an operation is not in the log");
        }
    }

    /// Writes a refusal down, or counts it where there were many.
    pub(super) fn refuse(
        &self,
        signed: Option<&SignedOrder>,
        refusal: &OperationRefusal,
        uid: u32,
        now_s: u64,
    ) {
        let written = self.with(|kept| {
            let who = signed.map(SignedOrder::operator);
            if kept.refusals.take(who, now_s) {
                kept.append(Event::refused(signed, refusal, uid), now_s)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, "a refusal is not in the log");
        }
    }

    /// Writes down how many more were refused.
    pub(super) fn summarise(&self, now_s: u64) {
        let written = self.with(|kept| {
            for (operator, count) in kept.refusals.summaries(now_s) {
                kept.append(Event::MoreRefused { operator, count }, now_s)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::debug!(%error, "no summary of refusals in the log");
        }
    }

    /// Reads the log anew, all that is written by now, and hands a piece out.
    pub(super) fn read(
        &self,
        from: u64,
        most: u32,
    ) -> Result<(Head, Vec<ByteVec>), OperationRefusal> {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.with(|kept| Ok(kept.file.written()?))?;
        let read = written.read(from, most);
        self.with(|_| Ok(read?))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Kept) -> Result<T, Trouble>,
    ) -> Result<T, OperationRefusal> {
        let mut state = self.state();
        let worked = match &mut *state {
            State::Kept(kept) => work(kept),
            State::Broken(error) => Err(LogFileError::Broken(error.clone()).into()),
        };
        worked.map_err(|trouble| match trouble {
            Trouble::Refused(refusal) => refusal,
            Trouble::File(LogFileError::Broken(error)) => {
                let refusal = OperationRefusal::LogBroken(error.to_string());
                *state = State::Broken(error);
                refusal
            }
            Trouble::File(error) => OperationRefusal::LogUnusable(error.to_string()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why something was not written or read.
enum Trouble {
    Refused(OperationRefusal),
    File(LogFileError),
}

impl From<OperationRefusal> for Trouble {
    fn from(refusal: OperationRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LogFileError> for Trouble {
    fn from(error: LogFileError) -> Self {
        Self::File(error)
    }
}

impl Kept {
    /// Begins a new log, and says of what a former card left under way that its end is not known.
    fn begin_serving(&mut self, now_s: u64) -> Result<(), LogFileError> {
        if self.file.is_empty() {
            self.append(Event::Opened { after: None }, now_s)?;
        }
        for begun in self.memory.under_way.clone() {
            let outcome = Outcome::Interrupted;
            self.append(Event::Ended { begun, outcome }, now_s)?;
        }
        Ok(())
    }

    fn append(&mut self, event: Event, now_s: u64) -> Result<u64, LogFileError> {
        let at_s = self.memory.latest_s.max(now_s);
        let record = self.file.append(at_s, event)?;
        self.memory.learn(&record);
        Ok(record.index)
    }
}

impl Memory {
    fn learn(&mut self, record: &Record) {
        self.latest_s = self.latest_s.max(record.at_s);
        match &record.event {
            Event::Opened { after } => {
                // An order of the former log may have been issued by a clock that was ahead.
                let skew_s = after.as_ref().map_or(0, |_| Order::MAX_SKEW_S);
                self.orders_from_s = record.at_s.saturating_add(skew_s);
            }
            Event::Begun {
                operator,
                nonce,
                expires_at,
                ..
            } => {
                let latest_s = self.latest_s;
                self.used.retain(|_, expires_at| *expires_at > latest_s);
                self.used
                    .insert((operator.clone(), nonce.clone()), *expires_at);
                self.orders
                    .retain(|_, allowance| !allowance.is_full(latest_s));
                self.orders_of(operator, latest_s).take(latest_s);
                self.under_way.push(record.index);
            }
            Event::Ended { begun, .. } => self.under_way.retain(|index| index != begun),
            Event::Refused { .. } | Event::MoreRefused { .. } => {}
        }
    }

    fn check_unused(&mut self, signed: &SignedOrder, now_s: u64) -> Result<(), OperationRefusal> {
        let (order, operator) = (signed.order(), signed.operator());
        let now_s = self.latest_s.max(now_s);
        let expires_at = order.expires_at;
        // Others have written meanwhile: what has expired by now may be forgotten already.
        if expires_at <= now_s {
            return Err(OperationRefusal::Expired { expires_at, now_s });
        }
        let key = (operator.to_owned(), hex(&order.nonce));
        if order.issued_at < self.orders_from_s || self.used.contains_key(&key) {
            return Err(OperationRefusal::Replayed);
        }
        if self.orders_of(operator, now_s).left(now_s) == 0 {
            return Err(OperationRefusal::TooMany {
                operator: operator.to_owned(),
                pause_s: ORDERS.pause_s,
            });
        }
        Ok(())
    }

    fn orders_of(&mut self, operator: &str, now_s: u64) -> &mut Allowance {
        let full = || Allowance::full(ORDERS, now_s);
        self.orders.entry(operator.to_owned()).or_insert_with(full)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
