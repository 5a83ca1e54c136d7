//! A guest's account, shared by its requests, each of which has a place as long as it is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_attestation::launch;
use bartizan_attestation::measurement::Refusal;

use crate::account::Account;

/// One guest's budget.
#[derive(Debug)]
pub struct Budget(Mutex<Ledger>);

#[derive(Debug)]
struct Ledger {
    account: Account,
    under_way: usize,
}

/// One admitted request; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Spent(Arc<Budget>);

impl Budget {
    /// A fresh budget with the launch record's limits.
    pub fn new(limits: launch::Budget) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Ledger {
            account: Account::new(limits, Instant::now()),
            under_way: 0,
        })))
    }

    /// Admits a request, or says when to come again.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Spent, Refusal> {
        let mut ledger = self.ledger();
        let under_way = ledger.under_way;
        ledger.account.admit(now, under_way)?;
        ledger.under_way += 1;
        Ok(Spent(Arc::clone(self)))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spent {
    /// Books the pause that the request cost.
    pub fn paused(&self, now: Instant, length: Duration) {
        self.0.ledger().account.paused(now, length);
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.0.ledger().under_way -= 1;
    }
}

#[cfg(test)]
mod tests;
