//! What clients in the network got, and what they did not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::summary::Counts;

/// Shared by the guests' threads.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Entries>);

#[derive(Default)]
pub(crate) struct Entries {
    /// What went as it should, by its name.
    pub(crate) done: Counts,
    /// What did not come about.
    pub(crate) failed: Counts,
    /// What must never happen and did.
    pub(crate) wrong: Vec<String>,
}

impl Journal {
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It went as it should.
    pub(crate) fn done(&self, what: &str) {
        *self.entries().done.entry(what.into()).or_default() += 1;
    }

    /// It did not come about; while nothing is killed that is wrong.
    pub(crate) fn failed(&self, what: &str, calm: bool, why: &str) {
        let mut entries = self.entries();
        *entries.failed.entry(what.into()).or_default() += 1;
        if calm {
            entries.wrong.push(format!("{what} in the calm: {why}"));
        }
    }

    /// It must never happen, calm or not.
    pub(crate) fn wrong(&self, what: &str, why: &str) {
        self.entries().wrong.push(format!("{what}: {why}"));
    }

    /// How it goes, for people.
    pub(crate) fn told(&self) -> String {
        let entries = self.entries();
        let (done, wrong) = (&entries.done, entries.wrong.len());
        let failed: u64 = entries.failed.values().sum();
        format!("{done:?}, {failed} failed, {wrong} wrong")
    }
}
