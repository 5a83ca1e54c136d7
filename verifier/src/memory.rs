//! The memory that requests may take: bounded altogether, and shared so that nobody can take it all.
//!
//! A share is granted only if its payer then holds no more than what is left for everybody else. One
//! payer alone gets at most half, two a third each, and whoever comes next always finds something
//! free, however much the others hold. Nothing has to be configured per payer for that, and an idle
//! service can still give much of its memory to one large report (it is the dynamic threshold of
//! Choudhury and Hahne, "Dynamic queue length thresholds", with a factor of 1).
//!
//! Known attacks and the answers to them:
//! - *announcing much and sending nothing*: holds a share of the announcer's own, for as long as a body
//!   may stall;
//! - *blocking a queue*: there is none. Who waits is woken by every share that comes back, and whoever
//!   fits goes on, in any order;
//! - *going away*: a share belongs to the work, not to the connection; it comes back when the memory
//!   does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::payer::Payer;
use crate::problem::ProblemType;

#[cfg(test)]
mod tests;

/// After how many seconds it is worth trying again.
const RETRY_AFTER_S: u64 = 1;

/// An amount of memory, in bytes, and who holds how much of it.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    total: usize,
    holdings: Mutex<Holdings>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Holdings {
    held: usize,
    of: HashMap<Payer, usize>,
}

/// A part of a budget; comes back when dropped.
#[derive(Debug)]
pub struct Share {
    payer: Payer,
    bytes: usize,
    shared: Arc<Shared>,
}

/// There was no share to be had in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MemoryError {
    /// The payer's other requests hold too much.
    #[error(
        "other requests of this client hold the memory that it can have; send fewer at once, or try again"
    )]
    Share,
    /// All payers together hold too much.
    #[error("the memory for requests is taken; try again")]
    Full,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                total,
                holdings: Mutex::default(),
                freed: Notify::new(),
            }),
        }
    }

    /// The largest share that there can ever be, in bytes.
    #[must_use]
    pub const fn largest_share(total: usize) -> usize {
        total / 2
    }

    /// A share of `bytes`, at once or never.
    pub fn try_take(&self, payer: &Payer, bytes: usize) -> Result<Share, MemoryError> {
        let mut holdings = self.shared.lock();
        let held = holdings.of.get(payer).copied().unwrap_or(0);
        let free = self.shared.total - holdings.held;
        let fits = |held: usize| {
            free.checked_sub(bytes)
                .is_some_and(|left| held + bytes <= left)
        };
        if !fits(held) {
            let alone = fits(0);
            return Err(if alone {
                MemoryError::Share
            } else {
                MemoryError::Full
            });
        }
        holdings.held += bytes;
        *holdings.of.entry(payer.clone()).or_default() += bytes;
        Ok(Share {
            payer: payer.clone(),
            bytes,
            shared: Arc::clone(&self.shared),
        })
    }

    /// A share of `bytes`, as soon as there is one.
    ///
    /// # Errors
    /// There was none by `until`.
    pub async fn take(
        &self,
        payer: &Payer,
        bytes: usize,
        until: Instant,
    ) -> Result<Share, MemoryError> {
        loop {
            // Made before the try: what comes back between the two is not missed.
            let freed = self.shared.freed.notified();
            match self.try_take(payer, bytes) {
                Ok(share) => return Ok(share),
                Err(error) => timeout_at(until, freed).await.map_err(|_| error)?,
            }
        }
    }

    /// How many bytes nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.shared.total - self.shared.lock().held
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut holdings = self.shared.lock();
        holdings.held -= self.bytes;
        if let Some(held) = holdings.of.get_mut(&self.payer) {
            *held -= self.bytes;
            if *held == 0 {
                holdings.of.remove(&self.payer);
            }
        }
        drop(holdings);
        self.shared.freed.notify_waiters();
    }
}

impl ProblemType for MemoryError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Share => ("client-memory-exhausted", StatusCode::TOO_MANY_REQUESTS),
            Self::Full => ("memory-exhausted", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        Some(RETRY_AFTER_S)
    }
}
