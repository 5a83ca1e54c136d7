//! What happened and is in no evidence yet: noted by the links, taken by whoever signs.
//!
//! | attack | answer |
//! |---|---|
//! | a guest asks for what is denied without end, so that nothing else is said | what is alike is one event with a count, and has room of its own |
//! | so much happens that memory ends | what there is no room for is counted, and the count is signed |
//! | each event costs a write of the state, and a count of the vault's | events are gathered: for [`SOON`], or for [`DENIED`] where flows were denied and nothing else happened |

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_attestation::evidence::{Event, Guest, MAX_EVENTS, MAX_WHY, What};
use bartizan_local::flow::Guest as GuestBoot;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::run::now_s;

/// How long events are gathered.
pub const SOON: Duration = Duration::from_secs(5);
/// How long denied flows are counted.
pub const DENIED: Duration = Duration::from_secs(300);
/// Most events that wait, beside what was denied.
const MAX_WAITING: usize = 2048;
/// Most guests and reasons of what was denied.
const MAX_DENIED: usize = 256;

/// What happened and is in no evidence yet.
#[derive(Debug, Default)]
pub struct Witness {
    seen: Mutex<Seen>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    events: VecDeque<Event>,
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
        seen.due_within(SOON);
        drop(seen);
        self.news.notify_one();
    }

    /// A decision denied flows of a guest: by this rule, or for this reason.
    pub fn denied(&self, guest: GuestBoot, by: &str) {
        let guest = of_boot(guest);
        let mut seen = self.seen();
        let key = (guest, short(by));
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
        seen.due_within(DENIED);
        drop(seen);
        self.news.notify_one();
    }

    /// What was taken cannot be signed or kept: it is lost, and counted.
    pub fn lost(&self, gathered: &[Gathered]) {
        let lost = gathered
            .iter()
            .map(|of| of.dropped.saturating_add(of.events.len() as u64));
        let lost = lost.fold(0, u64::saturating_add);
        let mut seen = self.seen();
        seen.dropped = seen.dropped.saturating_add(lost);
        if lost > 0 {
            seen.due_within(DENIED);
        }
    }

    /// Takes what is to be signed now, for at most so many pieces; nothing before it is due.
    pub fn take(&self, pieces: usize, now: Instant) -> Vec<Gathered> {
        let mut seen = self.seen();
        if pieces == 0 || seen.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        seen.count_denied();
        let mut taken = Vec::new();
        while taken.len() < pieces && (!seen.events.is_empty() || seen.dropped > 0) {
            let most = seen.events.len().min(MAX_EVENTS);
            taken.push(Gathered {
                events: seen.events.drain(..most).collect(),
                dropped: std::mem::take(&mut seen.dropped),
            });
        }
        seen.due = (!seen.events.is_empty()).then_some(now);
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

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn due_within(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.due = Some(self.due.map_or(due, |former| former.min(due)));
    }

    /// What was denied becomes events, behind the others: these have had their room.
    fn count_denied(&mut self) {
        let denied = std::mem::take(&mut self.denied).into_iter();
        let denied = denied.map(
            |(
                (guest, by),
                Denied {
                    first_at,
                    decisions,
                },
            )| Event {
                at: first_at,
                what: What::Denied {
                    guest,
                    decisions,
                    by,
                },
            },
        );
        self.events.extend(denied);
    }
}

/// A guest, as evidence has it.
pub(crate) const fn of_boot(boot: GuestBoot) -> Guest {
    Guest {
        vm: boot.vm,
        boot: boot.boot,
    }
}

/// A reason, as long as one may be.
pub(crate) fn short(why: &str) -> String {
    why[..why.floor_char_boundary(MAX_WHY)].to_owned()
}

#[cfg(test)]
mod tests;
