//! The streams that enclaves hold open: who may, one a card, and what all of them are told at once.
//!
//! ```text
//!  policies applied ─► set ─watch─┐
//!  verdicts ──────────► trust ────┤
//!  operators ─────────► commands ─┤
//!                                 ▼
//!  HTTP/2 ─admit─► Opening ─► conversation ◄─ evidence, acknowledgements ─► storage
//! ```
//!
//! A card has one stream: a newer one takes the place of the older, so that a host whose connection is gone without a word does not
//! wait for that to be found out. What is not taken is not waited for: a reader that is slow is cut, and told everything anew when it
//! comes back.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_attestation::appraisal::Status;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_policy::Sha384;
use bartizan_stream::message::{Guest, HeldSet, PolicySet, Trust};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::metrics::status_word;
use crate::storage::CurrentSet;

mod admit;
mod commands;
mod conversation;
mod evidence;
mod news;

pub use admit::{Admitted, StreamAccessError, admit};
pub use conversation::converse;

/// The streams that are open, and the set that all of them are sent.
#[derive(Debug)]
pub struct Streams {
    set: watch::Sender<Option<Arc<SentSet>>>,
    /// Counts what may have ended the leave of some.
    decisions: watch::Sender<u64>,
    /// Counts the commands that were answered for.
    answers: watch::Sender<u64>,
    open: Mutex<Open>,
}

/// The set as it is sent.
#[derive(Debug)]
pub struct SentSet {
    set: PolicySet,
    digest: Sha384,
}

#[derive(Debug, Default)]
struct Open {
    /// The number of the next stream.
    next: u64,
    of: HashMap<CardId, Arc<Line>>,
}

/// What a stream waits for beside its enclave.
#[derive(Debug)]
struct Line {
    number: u64,
    superseded: Notify,
    verdicts: Mutex<Verdicts>,
    news: Notify,
    /// A command waits.
    commands: Notify,
}

/// What a stream is told of guests.
#[derive(Debug, Default)]
struct Verdicts {
    /// Guests of which there is news, and what.
    waiting: BTreeMap<Guest, Trust>,
    /// Of which verdict a guest's enclave was told last.
    last: BTreeMap<Guest, Uuid>,
}

/// Of how many guests it is known which verdict their enclave was told last. Who is overtaken is so by a verdict that was kept in the
/// same moment: those of long ago may be forgotten.
const MOST_LAST: usize = 4096;

/// A stream's place: another of the same card ends it. Given back when dropped.
#[derive(Debug)]
struct Place<'s> {
    card: CardId,
    line: Arc<Line>,
    streams: &'s Streams,
}

impl Streams {
    /// None yet. `set`: what they are to be sent.
    #[must_use]
    pub fn new(set: Option<CurrentSet>) -> Self {
        Self {
            set: watch::Sender::new(set.and_then(sent).map(Arc::new)),
            decisions: watch::Sender::new(0),
            answers: watch::Sender::new(0),
            open: Mutex::default(),
        }
    }

    /// Somebody was revoked, or something retired: whether streams may go on is asked anew.
    pub fn decided(&self) {
        self.decisions.send_modify(|count| *count += 1);
    }

    /// A command to a card's enclave was queued: it is sent, if that one listens.
    pub fn ordered(&self, card: CardId) {
        let line = self.open().of.get(&card).cloned();
        if let Some(line) = line {
            line.commands.notify_one();
        }
    }

    /// Changes whenever an enclave has answered for a command, and it is kept what came of that.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// The set was changed: all streams are sent it, unless they are past it already.
    pub fn publish(&self, set: CurrentSet) {
        let Some(new) = sent(set) else {
            return;
        };
        self.set.send_if_modified(|current| {
            let is_newer = current
                .as_ref()
                .is_none_or(|current| current.set.number() < new.set.number());
            if is_newer {
                *current = Some(Arc::new(new));
            }
            is_newer
        });
    }

    /// Number and digest of the set that all are sent; `None` before the first policy.
    #[must_use]
    pub fn current(&self) -> Option<(u64, Sha384)> {
        let current = self.set.borrow();
        let held = current.as_ref().map(|set| set.held());
        held.map(|held| (held.number.get(), held.digest))
    }

    /// A verdict on a guest was kept: its enclave is told, if it listens, unless it was told of a later one.
    pub fn appraised(&self, guest: &GuestIdentity, verdict: Uuid, status: Status) {
        let line = self.open().of.get(&guest.card).cloned();
        if let Some(line) = line {
            line.tell(guest, verdict, trust_of(status_word(status)));
        }
    }

    /// Whether a card's enclave holds a stream open.
    #[must_use]
    pub fn is_open(&self, card: CardId) -> bool {
        self.open().of.contains_key(&card)
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open().of.len()
    }

    /// A place for a stream of a card's; one that it has is ended.
    fn place(&self, card: CardId) -> Place<'_> {
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        let line = Arc::new(Line {
            number,
            superseded: Notify::new(),
            verdicts: Mutex::default(),
            news: Notify::new(),
            commands: Notify::new(),
        });
        if let Some(former) = open.of.insert(card, Arc::clone(&line)) {
            former.superseded.notify_one();
        }
        Place {
            card,
            line,
            streams: self,
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Verdicts are kept by several tasks at once, and by their ids it is known which is the later: as storage has it.
    ///
    /// Known attack: of two verdicts that are kept at once the one that affirms is told last, though the other is the later.
    fn tell(&self, guest: &GuestIdentity, verdict: Uuid, trust: Trust) {
        let guest = Guest {
            vm: guest.vm,
            boot: guest.boot,
        };
        let mut verdicts = self.verdicts();
        if verdicts.last.get(&guest) >= Some(&verdict) {
            return;
        }
        verdicts.last.insert(guest, verdict);
        if verdicts.last.len() > MOST_LAST {
            let oldest = verdicts.last.iter().min_by_key(|(_, verdict)| **verdict);
            if let Some(oldest) = oldest.map(|(guest, _)| *guest) {
                verdicts.last.remove(&oldest);
            }
        }
        // The last word on a guest takes the place of the one before, and guests are no more than verdicts that wait: a stream that
        // does not take them is cut.
        verdicts.waiting.insert(guest, trust);
        drop(verdicts);
        self.news.notify_one();
    }

    fn take_news(&self) -> BTreeMap<Guest, Trust> {
        std::mem::take(&mut self.verdicts().waiting)
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        let own = open.of.get(&self.card);
        if own.is_some_and(|line| line.number == self.line.number) {
            open.of.remove(&self.card);
        }
    }
}

/// The set as it is sent. One that cannot be was never applied.
fn sent(set: CurrentSet) -> Option<SentSet> {
    let sent = NonZeroU64::new(set.number).map(|number| PolicySet::new(number, set.signed));
    let Some(Ok(of)) = sent else {
        tracing::error!(
            number = set.number,
            "the kept set of policies is none that can be sent"
        );
        return None;
    };
    Some(SentSet {
        set: of,
        digest: set.digest,
    })
}

impl SentSet {
    const fn held(&self) -> HeldSet {
        HeldSet {
            number: self.set.number(),
            digest: self.digest,
        }
    }
}

/// What a status means to policies. A warning is no ground for what only the trusted may, and none for what only the others must bear.
fn trust_of(status: &str) -> Trust {
    if status == status_word(Status::Affirming) {
        Trust::Affirming
    } else if status == status_word(Status::Contraindicated) {
        Trust::Contraindicated
    } else {
        Trust::None
    }
}

#[cfg(test)]
mod tests;
