//! Answers that wait to be noted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bartizan_local::flow::Resolved;

use crate::net::packet::Packet;

/// Most of one guest that wait, and most bytes of them. Known attack: a guest has answers without end wait for whoever decides.
const MOST: usize = 64;
const MOST_BYTES: usize = 256 << 10;
/// How long one waits: less than guests wait for an answer before they ask again (`timeout` of resolv.conf(5), 5 s).
const WAITING: Duration = Duration::from_secs(4);

/// In the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// One.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) packet: Packet,
    pub(super) resolved: Resolved,
    pub(super) came: Instant,
}

impl Waiting {
    fn until(&self) -> Instant {
        self.came + WAITING
    }
}

impl Held {
    /// Holds one, if there is room.
    pub(super) fn add(&mut self, mut waiting: Waiting) -> bool {
        let size = waiting.packet.bytes.len();
        if self.waiting.len() >= MOST || self.bytes + size > MOST_BYTES {
            return false;
        }
        self.bytes += size;
        // As of what waits for a verdict.
        waiting.packet.bytes.shrink_to_fit();
        self.waiting.push_back(waiting);
        true
    }

    /// Takes the one of that number out.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        let mut numbers = self.waiting.iter().map(|one| one.resolved.number);
        let at = numbers.position(|one| one == number)?;
        let taken = self.waiting.remove(at)?;
        self.bytes -= taken.packet.bytes.len();
        Some(taken)
    }

    /// Holds nothing any more; returns how many.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.waiting.len() as u64;
        *self = Self::default();
        count
    }

    /// Lets go of those that have waited too long; returns how many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut count = 0;
        while self.waiting.front().is_some_and(|one| one.until() <= now) {
            let gone = self.waiting.pop_front();
            self.bytes -= gone.map_or(0, |one| one.packet.bytes.len());
            count += 1;
        }
        count
    }

    /// Until when the first of them waits.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.front().map(Waiting::until)
    }
}
