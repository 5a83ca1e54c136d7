//! What happened and is in no evidence yet: noted by the links, taken by whoever signs.
//!
//! | attack | answer |
//! |---|---|
//! | a guest asks for what is denied without end, or has what it is taken for change and change, so that nothing else is said | what guests can have happen at will is counted, has room of its own, and comes after everything else |
//! | a guest that is denied for many reasons takes the room of the others | so many reasons a guest, the others together |
//! | so much happens that memory ends | what there is no room for is counted, and the count is signed |
//! | each event costs a write of the state, and a count of the vault's | events are gathered: for [`SOON`]; for [`TRUST`] and [`DENIED`] what guests have in their hands |
//! | a host holds all of it back, and is taken for one where nothing happens | something is signed each [`HOUR`] |

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_attestation::evidence::{Event, Guest, MAX_EVENTS, MAX_WHY, Taken, What};
use bartizan_local::flow::Guest as GuestBoot;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::run::now_s;

/// How long events are gathered.
pub const SOON: Duration = Duration::from_secs(5);
/// How long it is looked on what guests are taken for.
pub const TRUST: Duration = Duration::from_secs(60);
/// How long denied flows are counted.
pub const DENIED: Duration = Duration::from_secs(300);
/// After so long something is signed in any case.
pub const HOUR: Duration = Duration::from_secs(3600);
/// Most events that wait, beside what is counted.
const MAX_WAITING: usize = 1024;
/// Most guests of which it waits what they are taken for: no more run.
const MAX_TRUST: usize = 4096;
/// Most guests and reasons of what was denied.
const MAX_DENIED: usize = 1024;
/// Of these, most reasons of one guest.
const MAX_REASONS: usize = 16;
/// The reason for what is denied for yet another one.
const OTHERS: &str = "other reasons";

/// What happened and is in no evidence yet.
#[derive(Debug, Default)]
pub struct Witness {
    seen: Mutex<Seen>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    events: VecDeque<Event>,
    taken_for: BTreeMap<Guest, (u64, Taken)>,
    denied: BTreeMap<(Guest, String), Denied>,
    dropped: u64,
    /// When it is to be signed.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Denied {
    first_at: u64,
    decisions: NonZeroU64,
}

/// Events of one piece of evidence, and how many there was no room for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathered {
    /// Never more than a piece has.
    pub events: Vec<Event>,
    /// How many are not in any piece.
    pub dropped: u64,
}

impl Witness {
    /// Something happened.
    pub fn note(&self, what: What) {
        let mut seen = self.seen();
        if seen.events.len() < MAX_WAITING {
            seen.events.push_back(Event { at: now_s(), what });
        } else {
            seen.dropped += 1;
        }
        self.due_within(seen, SOON);
    }

    /// A guest is taken for something else than before. What it was taken for in between is not told.
    pub fn taken_for(&self, guest: GuestBoot, taken_for: Taken) {
        let mut seen = self.seen();
        let guest = of_boot(guest);
        if seen.taken_for.len() < MAX_TRUST || seen.taken_for.contains_key(&guest) {
            seen.taken_for.insert(guest, (now_s(), taken_for));
        } else {
            seen.dropped += 1;
        }
        self.due_within(seen, TRUST);
    }

    /// A decision denied flows of a guest: by this rule, or for this reason.
    pub fn denied(&self, guest: GuestBoot, by: &str) {
        let guest = of_boot(guest);
        let mut seen = self.seen();
        let mut key = (guest, short(by));
        if !seen.denied.contains_key(&key) {
            let reasons = seen.denied.range((guest, String::new())..);
            let reasons = reasons.take_while(|((of, _), _)| *of == guest);
            if reasons.take(MAX_REASONS).count() == MAX_REASONS {
                key.1 = OTHERS.into();
            }
        }
        let has_room = seen.denied.len() < MAX_DENIED;
        match seen.denied.get_mut(&key) {
            Some(denied) => denied.decisions = denied.decisions.saturating_add(1),
            None if has_room => {
                let denied = Denied {
                    first_at: now_s(),
                    decisions: NonZeroU64::MIN,
                };
                seen.denied.insert(key, denied);
            }
            None => seen.dropped += 1,
        }
        self.due_within(seen, DENIED);
    }

    /// What was taken cannot be signed or kept: it is lost, and counted.
    pub fn lost(&self, gathered: &[Gathered]) {
        let lost = gathered
            .iter()
            .map(|of| of.dropped.saturating_add(of.events.len() as u64));
        let lost = lost.fold(0, u64::saturating_add);
        let mut seen = self.seen();
        seen.dropped = seen.dropped.saturating_add(lost);
        self.due_within(seen, DENIED);
    }

    /// Takes what is to be signed now, for at most so many pieces; nothing before it is due. What there are no pieces for is due at once.
    pub fn take(&self, pieces: usize, now: Instant) -> Vec<Gathered> {
        let mut seen = self.seen();
        if pieces == 0 || seen.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        while taken.len() < pieces && (taken.is_empty() || !seen.is_empty()) {
            taken.push(Gathered {
                events: seen.take_events(),
                dropped: std::mem::take(&mut seen.dropped),
            });
        }
        seen.due = Some(if seen.is_empty() { now + HOUR } else { now });
        taken
    }

    /// Returns once something is to be signed.
    pub async fn until_due(&self) {
        loop {
            let due = self.seen().due;
            match due {
                None => self.news.notified().await,
                // Something else may be due sooner meanwhile.
                Some(due) => tokio::select! {
                    () = sleep_until(due) => return,
                    () = self.news.notified() => {}
                },
            }
        }
    }

    fn due_within(&self, mut seen: MutexGuard<'_, Seen>, wait: Duration) {
        let due = Instant::now() + wait;
        if seen.due.is_none_or(|former| due < former) {
            seen.due = Some(due);
            drop(seen);
            self.news.notify_one();
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.taken_for.is_empty()
            && self.denied.is_empty()
            && self.dropped == 0
    }

    /// Those of one piece. What guests can have happen at will comes last: nothing else ever waits for it.
    fn take_events(&mut self) -> Vec<Event> {
        let most = self.events.len().min(MAX_EVENTS);
        let mut taken: Vec<_> = self.events.drain(..most).collect();
        while taken.len() < MAX_EVENTS {
            let Some(event) = self.take_counted() else {
                break;
            };
            taken.push(event);
        }
        taken
    }

    fn take_counted(&mut self) -> Option<Event> {
        if let Some((guest, (at, taken_for))) = self.taken_for.pop_first() {
            let what = What::Trust { guest, taken_for };
            return Some(Event { at, what });
        }
        let ((guest, by), denied) = self.denied.pop_first()?;
        let what = What::Denied {
            guest,
            decisions: denied.decisions,
            by,
        };
        let at = denied.first_at;
        Some(Event { at, what })
    }
}

/// A guest, as evidence has it.
const fn of_boot(boot: GuestBoot) -> Guest {
    Guest {
        vm: boot.vm,
        boot: boot.boot,
    }
}

/// A reason, as long as one may be, and printable.
pub(crate) fn short(why: &str) -> String {
    let why = &why[..why.floor_char_boundary(MAX_WHY)];
    why.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
