//! How many connections there may be, altogether and of one payer.
//!
//! Where all places are taken, one who has fewer than somebody else takes a place from whoever has
//! most: the one that was taken longest ago. So that nobody can keep others out by holding places,
//! from however many addresses: a handshake that is meant to end takes milliseconds, and is never
//! among the oldest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::payer::Payer;

#[cfg(test)]
mod tests;

/// Counts the connections of one kind.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    total: usize,
    per_payer: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    /// The number of the next place.
    next: u64,
    /// Each payer's places by number, which is by age.
    of: HashMap<Payer, BTreeMap<u64, Arc<Notify>>>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    payer: Payer,
    number: u64,
    displaced: Arc<Notify>,
    shared: Arc<Shared>,
}

impl Admission {
    pub(super) fn new(total: usize, per_payer: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                total,
                per_payer,
                places: Mutex::default(),
            }),
        }
    }

    /// A place for a connection of `payer`; `None` if it has too many.
    pub(super) fn admit(&self, payer: Payer) -> Option<Place> {
        let mut places = self.shared.lock();
        let own = places.of.get(&payer).map_or(0, BTreeMap::len);
        if own >= self.shared.per_payer {
            return None;
        }
        if places.taken >= self.shared.total && !places.displace(own) {
            return None;
        }
        let number = places.next;
        places.next += 1;
        places.taken += 1;
        let displaced = Arc::new(Notify::new());
        (places.of.entry(payer.clone()).or_default()).insert(number, Arc::clone(&displaced));
        Some(Place {
            payer,
            number,
            displaced,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Places {
    /// Takes the oldest place from the payer that has most, if that is more than `own`.
    fn displace(&mut self, own: usize) -> bool {
        let oldest = |places: &BTreeMap<u64, Arc<Notify>>| places.keys().next().copied();
        let heaviest = (self.of.iter())
            .max_by_key(|(_, places)| (places.len(), Reverse(oldest(places))))
            .filter(|(_, places)| places.len() > own)
            .map(|(payer, places)| (payer.clone(), oldest(places)));
        let Some((payer, Some(number))) = heaviest else {
            return false;
        };
        if let Some(displaced) = self.remove(&payer, number) {
            displaced.notify_one();
        }
        true
    }

    fn remove(&mut self, payer: &Payer, number: u64) -> Option<Arc<Notify>> {
        let places = self.of.get_mut(payer)?;
        let removed = places.remove(&number)?;
        if places.is_empty() {
            self.of.remove(payer);
        }
        self.taken -= 1;
        Some(removed)
    }
}

impl Place {
    /// Returns once the place was taken away.
    pub(super) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that was displaced is not there any more.
        self.shared.lock().remove(&self.payer, self.number);
    }
}
