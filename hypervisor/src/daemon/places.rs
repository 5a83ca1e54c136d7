//! Who of this host's guests has a place: its UUID, its name and its CID are no other guest's meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::guest::Guest;
use super::unheard::Unheard;

/// The lowest CID that is no reserved one (virtio 1.2 section 5.10.4).
const FIRST_CID: u32 = 3;

/// All places, by UUID.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Uuid, Place>);

/// A guest's place.
#[derive(Debug)]
pub(super) enum Place {
    /// It is being started.
    Starting {
        /// Its name.
        name: String,
        /// Its CID.
        cid: u32,
    },
    Running(Arc<Guest>),
    /// It has not ended, and this daemon has not heard its supervisor.
    Unheard(Arc<Unheard>),
}

/// A guest that has a place, as far as the daemon knows it.
pub(super) enum Known {
    Guest(Arc<Guest>),
    Unheard(Arc<Unheard>),
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, vm: Uuid) -> bool {
        self.0.contains_key(&vm)
    }

    /// Takes a place, and a CID that no other guest has, which it returns; `None` if UUID or name are taken.
    pub(super) fn reserve(&mut self, vm: Uuid, name: &str) -> Option<u32> {
        if self.has(vm) || self.0.values().any(|place| place.name() == name) {
            return None;
        }
        let taken: Vec<_> = self.0.values().map(Place::cid).collect();
        let cid = (FIRST_CID..)
            .find(|cid| !taken.contains(cid))
            .unwrap_or(FIRST_CID);
        let name = name.to_owned();
        self.0.insert(vm, Place::Starting { name, cid });
        Some(cid)
    }

    pub(super) fn put(&mut self, vm: Uuid, place: Place) {
        self.0.insert(vm, place);
    }

    pub(super) fn give_up(&mut self, vm: Uuid) {
        self.0.remove(&vm);
    }

    /// The guests that were started and have not ended.
    pub(super) fn known(&self) -> Vec<Known> {
        self.0.values().filter_map(Place::known).collect()
    }
}

impl Place {
    fn name(&self) -> &str {
        match self {
            Self::Starting { name, .. } => name,
            Self::Running(guest) => &guest.record.name,
            Self::Unheard(guest) => &guest.name,
        }
    }

    fn cid(&self) -> u32 {
        match self {
            Self::Starting { cid, .. } => *cid,
            Self::Running(guest) => guest.cid,
            Self::Unheard(guest) => guest.cid,
        }
    }

    fn known(&self) -> Option<Known> {
        match self {
            Self::Starting { .. } => None,
            Self::Running(guest) => Some(Known::Guest(Arc::clone(guest))),
            Self::Unheard(guest) => Some(Known::Unheard(Arc::clone(guest))),
        }
    }
}

impl Known {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Guest(guest) => &guest.record.name,
            Self::Unheard(guest) => &guest.name,
        }
    }

    pub(super) fn vm(&self) -> Uuid {
        Uuid::from_bytes(match self {
            Self::Guest(guest) => guest.identity.vm,
            Self::Unheard(guest) => guest.identity.vm,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_name_and_cid_are_one_guests_from_the_beginning_of_its_start() {
        let mut places = Places::default();
        let [first, second] = [1, 2].map(Uuid::from_u128);
        assert_eq!(places.reserve(first, "web"), Some(FIRST_CID));
        // Both are still being started.
        assert_eq!(places.reserve(second, "web"), None);
        assert_eq!(places.reserve(first, "mail"), None);
        assert_eq!(places.reserve(second, "mail"), Some(FIRST_CID + 1));
        places.give_up(first);
        let third = Uuid::from_u128(3);
        assert_eq!(places.reserve(third, "web"), Some(FIRST_CID));
    }
}
