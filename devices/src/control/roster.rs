//! Which guests have a device now.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a new attachment waits for a former one of the same CID that is just ending.
const HANDOVER: Duration = Duration::from_secs(1);

/// The CIDs in use.
pub(super) struct Roster {
    limit: usize,
    cids: Mutex<BTreeSet<u32>>,
    left: Condvar,
}

/// A CID's place in the roster, given back when dropped.
pub(super) struct Entry<'r> {
    roster: &'r Roster,
    cid: u32,
}

/// A device cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum RosterError {
    /// The CID has a device.
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
            cids: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Enters a CID. Waits shortly for a former device of it whose end is under way.
    pub(super) fn enter(&self, cid: u32) -> Result<Entry<'_>, RosterError> {
        let (mut cids, _) = self
            .left
            .wait_timeout_while(self.lock(), HANDOVER, |cids| cids.contains(&cid))
            .unwrap_or_else(PoisonError::into_inner);
        if cids.len() >= self.limit {
            return Err(RosterError::Full(self.limit));
        }
        if !cids.insert(cid) {
            return Err(RosterError::InUse(cid));
        }
        Ok(Entry { roster: self, cid })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.cids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.roster.lock().remove(&self.cid);
        self.roster.left.notify_all();
    }
}
