//! Whose addresses outside are, by ARP and neighbour discovery.
//!
//! ```text
//!   first packet ── Asked ── answer ──► Known ── unused, or not confirmed ──► gone
//!                     │ asked again ×3    ▲  └─ old: asked again, used meanwhile ─┐
//!                     └──► gone           └────────────── answer ─────────────────┘
//! ```
//!
//! Known attack: an answer that nobody asked for, or one of long ago, has packets go to whoever sent it. An answer counts while it is
//! waited for, once.
//!
//! Known attack: a guest asks for more addresses than there are, so that the others' are forgotten or never asked for. Of what is held
//! here a guest has a share (see [`Shares`]), and an address that is known goes only once nobody confirms it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::OutsideError;
use super::outbox::Outgoing;
use crate::net::frame::Mac;
use crate::net::shares::{self, Shares};

/// Most addresses that are asked for or known.
pub(super) const MOST: usize = 1024;
/// Most bytes of packets that wait, and most packets that wait for one address: one guest alone gets half of either.
const MOST_BYTES: usize = 1 << 20;
pub(super) const MOST_WAITING: usize = 32;
/// How often it is asked until an answer comes, and the time between.
const QUESTIONS: u8 = 3;
const BETWEEN: Duration = Duration::from_secs(1);
/// How long an answer is used without another question, and how long without another answer.
const FRESH: Duration = Duration::from_secs(30);
const KNOWN: Duration = Duration::from_secs(90);

/// What is known of addresses outside.
#[derive(Debug)]
pub(super) struct Neighbours {
    entries: HashMap<IpAddr, Entry>,
    /// Of these, by the guest whose packet made it.
    places: Shares<Mac>,
    bytes: Shares<Mac>,
    swept: Option<Instant>,
}

/// In whose name is asked: the guest's whose packet it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asker {
    pub(super) mac: Mac,
    pub(super) address: IpAddr,
}

/// A question to be sent: whose is that address?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) asker: Asker,
    pub(super) address: IpAddr,
}

/// What becomes of a packet.
#[derive(Debug)]
pub(super) enum Next {
    /// It goes to that station.
    To(Mac, Outgoing),
    /// It waits.
    Waits,
}

#[derive(Debug)]
struct Entry {
    /// In whose share it is.
    holder: Mac,
    asker: Asker,
    known: Option<Known>,
    /// How often it was asked since it was answered, and when last.
    asked: Option<(u8, Instant)>,
    waiting: Vec<Outgoing>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    mac: Mac,
    since: Instant,
}

impl Known {
    fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < KNOWN
    }
}

/// Packets that have waited in vain.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Lost {
    /// Nobody has answered.
    pub(super) unanswered: u64,
    /// What let them pass does not hold any more.
    pub(super) overtaken: u64,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            places: Shares::new(MOST),
            bytes: Shares::new(MOST_BYTES),
            swept: None,
        }
    }
}

impl Neighbours {
    /// Finds a packet's next station; adds what has to be asked for that to `questions`.
    pub(super) fn find(
        &mut self,
        packet: Outgoing,
        asker: Asker,
        address: IpAddr,
        now: Instant,
        questions: &mut Vec<Asked>,
    ) -> Result<Next, OutsideError> {
        if !self.entries.contains_key(&address) {
            if !self.places.take(asker.mac, 1) {
                return Err(OutsideError::TooManyNeighbours);
            }
            let entry = Entry::new(asker);
            self.entries.insert(address, entry);
        }
        let entry = self.entries.get_mut(&address);
        let entry = entry.ok_or(OutsideError::NoNeighbour)?;
        // Who uses it now may be asked back; who did before may be gone.
        entry.asker = asker;
        if let Some(known) = entry.known.filter(|known| known.holds(now)) {
            let is_old = now.saturating_duration_since(known.since) >= FRESH;
            if is_old && entry.asked.is_none() {
                entry.asked = Some((1, now));
                questions.push(Asked { asker, address });
            }
            return Ok(Next::To(known.mac, packet));
        }
        entry.known = None;
        // Known attack: a guest's packets take all places for the gateway's answer.
        let (size, sender) = (packet.packet.bytes.len(), packet.sender());
        let theirs = entry.waiting.iter().filter(|one| one.sender() == sender);
        let fits = shares::fits(MOST_WAITING, entry.waiting.len(), theirs.count(), 1);
        if !fits || !self.bytes.take(sender, size) {
            return Err(OutsideError::TooManyWait);
        }
        entry.waiting.push(packet);
        if entry.asked.is_none() {
            entry.asked = Some((1, now));
            questions.push(Asked { asker, address });
        }
        Ok(Next::Waits)
    }

    /// Somebody says that an address is his; returns the packets that waited for that.
    pub(super) fn answer(&mut self, address: IpAddr, mac: Mac, now: Instant) -> Vec<Outgoing> {
        let entry = self.entries.get_mut(&address);
        let Some(entry) = entry.filter(|entry| entry.asked.is_some()) else {
            return Vec::new();
        };
        entry.known = Some(Known { mac, since: now });
        entry.asked = None;
        let waited = std::mem::take(&mut entry.waiting);
        for packet in &waited {
            self.bytes
                .give_back(packet.sender(), packet.packet.bytes.len());
        }
        waited
    }

    /// Asks again, and lets go of what nobody answers for, and of what may not leave any more. Returns how many packets have waited in
    /// vain.
    pub(super) fn expire(&mut self, now: Instant, questions: &mut Vec<Asked>) -> Lost {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= BETWEEN;
        let mut lost = Lost::default();
        if !self.swept.is_none_or(is_due) {
            return lost;
        }
        self.swept = Some(now);
        let mut over = Vec::new();
        for (address, entry) in &mut self.entries {
            let is_known = entry.known.is_some_and(|known| known.holds(now));
            for overtaken in entry.waiting.extract_if(.., |one| !one.is_present()) {
                let size = overtaken.packet.bytes.len();
                self.bytes.give_back(overtaken.sender(), size);
                lost.overtaken += 1;
            }
            if !is_known && entry.waiting.is_empty() {
                over.push(*address);
                continue;
            }
            match &mut entry.asked {
                Some((count, at)) if is_due(*at) && *count < QUESTIONS => {
                    (*count, *at) = (*count + 1, now);
                    let (asker, address) = (entry.asker, *address);
                    questions.push(Asked { asker, address });
                }
                // It is used on while it is known: who is asked again may be slow.
                Some((_, at)) if is_due(*at) && is_known => entry.asked = None,
                Some((_, at)) if !is_due(*at) => {}
                None if is_known => {}
                _ => over.push(*address),
            }
        }
        for address in over {
            let Some(entry) = self.entries.remove(&address) else {
                continue;
            };
            self.places.give_back(entry.holder, 1);
            for packet in &entry.waiting {
                self.bytes
                    .give_back(packet.sender(), packet.packet.bytes.len());
                lost.unanswered += 1;
            }
        }
        lost
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let next = self.swept? + BETWEEN;
        (!self.entries.is_empty()).then_some(next)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    const fn new(asker: Asker) -> Self {
        Self {
            holder: asker.mac,
            asker,
            known: None,
            asked: None,
            waiting: Vec::new(),
        }
    }
}
