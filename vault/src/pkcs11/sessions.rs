//! The sessions of one opening of a token: one operation at a time in each.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use cryptoki::error::Error;
use cryptoki::session::Session;

use super::found::Found;

/// How many, where the token has room for so many.
const SESSIONS: usize = 4;

pub(super) struct Sessions {
    first: Mutex<Opened>,
    others: Vec<Mutex<Opened>>,
    /// Which opening of the token this is.
    pub(super) opening: u64,
}

/// A session that is logged in, and the objects that were found in it.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) found: Found,
}

impl Sessions {
    /// The first session and as many more as the token lets there be.
    pub(super) fn new(
        first: Session,
        more: impl Fn() -> Result<Session, Error>,
        opening: u64,
    ) -> Self {
        let more = std::iter::from_fn(|| more().ok());
        let opened = |session| {
            let found = Found::default();
            Mutex::new(Opened { session, found })
        };
        Self {
            first: opened(first),
            others: more.take(SESSIONS - 1).map(opened).collect(),
            opening,
        }
    }

    /// One that nobody works with; while there is none, the first one, once it is given back.
    pub(super) fn free(&self) -> MutexGuard<'_, Opened> {
        let all = std::iter::once(&self.first).chain(&self.others);
        let free = all.flat_map(|opened| match opened.try_lock() {
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            tried => tried.ok(),
        });
        let waited = || self.first.lock().unwrap_or_else(PoisonError::into_inner);
        free.into_iter().next().unwrap_or_else(waited)
    }
}
