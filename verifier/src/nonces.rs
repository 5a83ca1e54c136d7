//! Nonces: 32 random bytes, each bound to one guest, accepted once, for a short time.
//!
//! They live in memory only. A restart forgets them all, so that no nonce of before a restart is
//! ever accepted after it, and no crash can bring a used one back; a guest whose nonce was lost asks
//! for another. That also keeps the disk out of the hands of guests that ask for many.
//!
//! Known attacks and the answers to them:
//! - *replay*: a nonce leaves the book with its first use; it is remembered as spent for a while, only
//!   so that the refusal can say so;
//! - *burning another guest's nonce*: a use by another guest is refused and leaves the nonce as it was;
//! - *exhaustion*: what is outstanding is bounded per guest, per host and altogether, and no host gets
//!   more than three times what is left for the others, so that there is always some left; spent
//!   nonces are remembered in a ring of fixed size;
//! - *a clock that jumps*: ages are taken from the monotonic clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use bartizan_attestation::identity::{CardId, GuestIdentity};

mod error;
#[cfg(test)]
mod tests;

pub use error::NonceError;

/// A nonce.
pub type Nonce = [u8; 32];

/// How many spent nonces are remembered.
const SPENT_REMEMBERED: usize = 65_536;

/// Bounds of a [`NonceBook`].
#[derive(Clone, Copy, Debug)]
pub struct NonceLimits {
    /// How long a nonce is good.
    pub lifetime: Duration,
    /// Most outstanding nonces of one guest.
    pub per_guest: usize,
    /// Most outstanding nonces of all guests of one host.
    pub per_host: usize,
    /// Most outstanding nonces altogether.
    pub total: usize,
}

/// The nonces that were issued.
#[derive(Debug)]
pub struct NonceBook {
    limits: NonceLimits,
    outstanding: HashMap<Nonce, Issued>,
    /// In the order of their issue, which is that of their expiry; holds used ones until then.
    by_age: VecDeque<(Instant, Nonce)>,
    of_guest: HashMap<GuestIdentity, usize>,
    of_host: HashMap<CardId, usize>,
    spent: Spent,
}

#[derive(Debug)]
struct Issued {
    guest: GuestIdentity,
    expires: Instant,
}

impl NonceBook {
    /// An empty book.
    #[must_use]
    pub fn new(limits: NonceLimits) -> Self {
        Self {
            limits,
            outstanding: HashMap::new(),
            by_age: VecDeque::new(),
            of_guest: HashMap::new(),
            of_host: HashMap::new(),
            spent: Spent::default(),
        }
    }

    /// Issues a nonce to a guest.
    pub fn issue(&mut self, guest: GuestIdentity, now: Instant) -> Result<Nonce, NonceError> {
        self.drop_expired(now);
        let retry_after = self.limits.lifetime;
        if self
            .of_guest
            .get(&guest)
            .is_some_and(|held| *held >= self.limits.per_guest)
        {
            return Err(NonceError::GuestExhausted {
                limit: self.limits.per_guest,
                retry_after,
            });
        }
        // `by_age` counts used ones too, until they would have expired: it bounds the memory.
        let left = self.limits.total.saturating_sub(self.by_age.len());
        let limit = self.limits.per_host.min(left.saturating_mul(3)).max(1);
        if self
            .of_host
            .get(&guest.card)
            .is_some_and(|held| *held >= limit)
        {
            return Err(NonceError::HostExhausted { limit, retry_after });
        }
        if left == 0 {
            return Err(NonceError::Exhausted {
                limit: self.limits.total,
                retry_after,
            });
        }
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).map_err(|_| NonceError::NoRandomness)?;
        let expires = now + self.limits.lifetime;
        self.outstanding.insert(nonce, Issued { guest, expires });
        self.by_age.push_back((expires, nonce));
        *self.of_guest.entry(guest).or_default() += 1;
        *self.of_host.entry(guest.card).or_default() += 1;
        Ok(nonce)
    }

    /// Uses a nonce up.
    ///
    /// # Errors
    /// Refused if it was never issued, was used, has expired, or was issued to another guest; only a
    /// use by its own guest takes it out of the book.
    pub fn consume(
        &mut self,
        nonce: &Nonce,
        guest: &GuestIdentity,
        now: Instant,
    ) -> Result<(), NonceError> {
        let Some(issued) = self.outstanding.get(nonce) else {
            return Err(self.spent.reason(nonce));
        };
        if issued.guest != *guest {
            return Err(NonceError::Foreign);
        }
        let expired = issued.expires <= now;
        self.forget(nonce, if expired { End::Expired } else { End::Used });
        if expired {
            Err(NonceError::Expired)
        } else {
            Ok(())
        }
    }

    /// How many are outstanding.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    fn drop_expired(&mut self, now: Instant) {
        while let Some((expires, nonce)) = self.by_age.front().copied()
            && expires <= now
        {
            self.by_age.pop_front();
            self.forget(&nonce, End::Expired);
        }
    }

    fn forget(&mut self, nonce: &Nonce, end: End) {
        let Some(issued) = self.outstanding.remove(nonce) else {
            return;
        };
        release(&mut self.of_guest, &issued.guest);
        release(&mut self.of_host, &issued.guest.card);
        self.spent.remember(*nonce, end);
    }
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Why a nonce is no longer outstanding.
#[derive(Clone, Copy, Debug)]
enum End {
    Used,
    Expired,
}

/// The last nonces that were used or expired: for a clearer refusal, never for a decision.
#[derive(Debug, Default)]
struct Spent {
    ends: HashMap<Nonce, End>,
    order: VecDeque<Nonce>,
}

impl Spent {
    fn remember(&mut self, nonce: Nonce, end: End) {
        if self.order.len() >= SPENT_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
        self.order.push_back(nonce);
        self.ends.insert(nonce, end);
    }

    fn reason(&self, nonce: &Nonce) -> NonceError {
        match self.ends.get(nonce) {
            Some(End::Used) => NonceError::Used,
            Some(End::Expired) => NonceError::Expired,
            None => NonceError::Unknown,
        }
    }
}
