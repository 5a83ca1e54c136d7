//! Which tickets have which devices now.
//!
//! Known attack: a QEMU has its device hang, and the daemon gives its CID to the next guest, which gets no device. A place is a
//! ticket's, of one boot, so that what is left of a former boot takes nobody's.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_local::admission::Ticket;
use bartizan_local::attachment::DeviceKind;

/// How long a new attachment waits for a former one by the same ticket that is just ending.
const HANDOVER: Duration = Duration::from_secs(1);

/// One device of a ticket's.
type Place = (Ticket, DeviceKind);

/// The tickets in use.
pub(super) struct Roster {
    limit: usize,
    /// In no order, since tickets have none.
    tickets: Mutex<Vec<Place>>,
    left: Condvar,
}

/// A ticket's place in the roster, given back when dropped.
pub(super) struct Entry<'r> {
    roster: &'r Roster,
    ticket: Place,
}

/// A device cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum RosterError {
    /// The ticket has a device.
    #[error("CID {0} has a device already; close its attachment first")]
    InUse(u32),
    /// Too many devices.
    #[error("{0} devices are attached, which is the limit; detach one first")]
    Full(usize),
}

impl Roster {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            tickets: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Enters the ticket of a CID. Waits shortly for a former device of it whose end is under way.
    pub(super) fn enter(&self, cid: u32, ticket: Place) -> Result<Entry<'_>, RosterError> {
        let (mut tickets, waited) = self
            .left
            .wait_timeout_while(self.lock(), HANDOVER, |tickets| tickets.contains(&ticket))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(RosterError::InUse(cid));
        }
        if tickets.len() >= self.limit {
            return Err(RosterError::Full(self.limit));
        }
        tickets.push(ticket);
        Ok(Entry {
            roster: self,
            ticket,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.roster.lock().retain(|ticket| *ticket != self.ticket);
        self.roster.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(byte: u8) -> Place {
        (Ticket::new([byte; 32]), DeviceKind::Vsock)
    }

    fn refusal(entered: Result<Entry<'_>, RosterError>) -> Option<RosterError> {
        entered.err()
    }

    /// Known attack: what a former boot left hanging keeps the next one of the CID from having a device.
    #[test]
    fn a_place_is_of_a_ticket_and_not_of_a_cid() {
        let roster = Roster::new(2);
        let hangs = roster.enter(3, ticket(1)).unwrap();
        let next = roster.enter(3, ticket(2)).unwrap();
        assert_eq!(
            refusal(roster.enter(3, ticket(1))),
            Some(RosterError::InUse(3))
        );
        assert_eq!(
            refusal(roster.enter(4, ticket(3))),
            Some(RosterError::Full(2))
        );
        drop(next);
        let again = roster.enter(3, ticket(2)).unwrap();
        drop((hangs, again));
        assert!(roster.lock().is_empty());
    }
}
