//! Eras: what a guest's packets were let pass by, and whether that still holds when they leave.
//!
//! A packet that its sender's side let pass waits: for an answer from outside, for its receiver's thread, for a buffer of its receiver's. What
//! waits is of the era in which it was let pass, and leaves in no other.
//!
//! Known attack: a guest sends to another that works with it and takes nothing yet. When the one has been isolated, or its policy is another,
//! the other takes what was sent before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::fabric::Stations;
use super::frame::Mac;
use super::packet::Packet;

/// The present one of one guest's device: no two devices ever have the same.
#[derive(Debug)]
pub struct Era(RwLock<u64>);

/// An era that no device has had.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Default for Era {
    fn default() -> Self {
        Self(RwLock::new(fresh()))
    }
}

impl Era {
    /// What was let pass before leaves no more. Returns once nothing of it does.
    pub fn end(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh();
    }

    /// Which it is. It does not end until this is let go of.
    pub(super) fn present(&self) -> RwLockReadGuard<'_, u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever sent what is delivered to a guest now, one after another.
pub(super) struct Senders<'s> {
    stations: &'s Stations,
    /// Packets come in trains: the last one's era, which does not end meanwhile. Never two at a time: two receivers could wait for one another
    /// else, each by who waits for the end of an era that the other one holds.
    last: Option<(Mac, RwLockReadGuard<'s, u64>)>,
}

impl<'s> Senders<'s> {
    /// Of these.
    pub(super) const fn of(stations: &'s Stations) -> Self {
        Self {
            stations,
            last: None,
        }
    }

    /// Whether what a packet was let pass by still holds. If so it does until another one is asked about.
    pub(super) fn still_let_pass(&mut self, packet: &Packet) -> bool {
        // Of no guest: it was let pass by the receiver's side alone.
        let Some(era) = packet.era else {
            return true;
        };
        let sender = packet.frame.source;
        if self.last.as_ref().is_none_or(|(last, _)| *last != sender) {
            self.last = None;
            let station = self.stations.station(sender);
            self.last = station.map(|station| (sender, station.era.present()));
        }
        let holds = self
            .last
            .as_ref()
            .is_some_and(|(_, present)| **present == era);
        if !holds {
            // Nothing is delivered, so that nobody has to wait.
            self.last = None;
        }
        holds
    }
}
