//! A guest's flows by their keys.
//!
//! Packets come in trains: the flow that was found last is looked at first, which costs a comparison and no hash. The hash is keyed at random
//! (SipHash), so that nobody can choose flows that lie in one place.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::entry::Entry;
use super::key::Key;

/// All of one guest.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The slots of flows, by their keys' hashes: small, so that a cache has room for it.
    places: HashTable<u32>,
    slots: Slots,
    /// Slots without a flow.
    free: Vec<u32>,
    /// The slot that was found last, whatever is in it by now.
    last: Cell<u32>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Slots(Vec<Option<Slot>>);

/// A flow with its key: what each packet needs of its own flow lies in two lines of a processor's cache. For that their growth copies them
/// all (no allocator moves what is aligned so), as often as their number doubles.
#[derive(Debug)]
#[repr(C, align(64))]
struct Slot {
    key: Key,
    entry: Entry,
}

impl Slots {
    fn get(&self, place: u32) -> Option<&Slot> {
        self.0.get(place as usize)?.as_ref()
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Option<Slot>> {
        self.0.get_mut(place as usize)
    }

    fn has(&self, place: u32, key: &Key) -> bool {
        self.get(place).is_some_and(|slot| slot.key == *key)
    }
}

impl Slot {
    const fn parts(&self) -> (&Key, &Entry) {
        (&self.key, &self.entry)
    }
}

impl Entries {
    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        let slot = self.slots.get(self.find(key)?)?;
        Some(&slot.entry)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        let place = self.find(key)?;
        let slot = self.slots.get_mut(place)?.as_mut()?;
        Some(&mut slot.entry)
    }

    pub(super) fn contains_key(&self, key: &Key) -> bool {
        self.find(key).is_some()
    }

    /// Enters a flow, in the place of the one that has its key.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(&key);
        let flow = Some(Slot { key, entry });
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.slots.get_mut(place) {
                    *slot = flow;
                }
                place
            }
            None => {
                // INVARIANT: there are no more flows than a guest's limits allow.
                let Ok(place) = u32::try_from(self.slots.0.len()) else {
                    return;
                };
                self.slots.0.push(flow);
                place
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let of = |place: &u32| {
            slots
                .get(*place)
                .map_or(0, |slot| hasher.hash_one(slot.key))
        };
        self.places.insert_unique(hasher.hash_one(key), place, of);
        self.last.set(place);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Entry> {
        let (slots, hash) = (&self.slots, self.hasher.hash_one(key));
        let found = self.places.find_entry(hash, |place| slots.has(*place, key));
        let (place, _) = found.ok()?.remove();
        self.free.push(place);
        let slot = self.slots.get_mut(place)?.take()?;
        Some(slot.entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.slots.0.iter().flatten().map(Slot::parts)
    }

    /// Those in so many places from one on, and from where on there may be more.
    pub(super) fn from(
        &self,
        place: usize,
        places: usize,
    ) -> (impl Iterator<Item = (&Key, &Entry)>, Option<usize>) {
        let all = self.slots.0.get(place..).unwrap_or_default();
        let (some, more) = all.split_at(places.min(all.len()));
        let next = (!more.is_empty()).then_some(place + some.len());
        (some.iter().flatten().map(Slot::parts), next)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    #[inline]
    fn find(&self, key: &Key) -> Option<u32> {
        let last = self.last.get();
        if self.slots.has(last, key) {
            return Some(last);
        }
        self.look_up(key)
    }

    fn look_up(&self, key: &Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let place = *self
            .places
            .find(hash, |place| self.slots.has(*place, key))?;
        self.last.set(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::mem::offset_of;
    use std::time::Instant;

    use bartizan_local::flow::Direction;
    use proptest::prelude::*;

    use super::super::budget::Holder;
    use super::super::entry::{Progress, Standing};
    use super::*;
    use crate::net::packet::Packet;
    use crate::net::sample::{ipv4, station, udp};

    fn key(port: u16) -> Key {
        let packet = Packet::own(ipv4(station(1), station(2), 17, &udp(port, 53, b""))).unwrap();
        Key::of_sent(&packet)
    }

    /// It is told from others by how many packets of it did not pass.
    fn entry(refused: u16) -> Entry {
        let packet = Packet::own(ipv4(station(1), station(2), 17, &udp(1, 53, b""))).unwrap();
        let holder = Holder::of(&packet.frame, Direction::Egress);
        let mut entry = Entry::new(
            Direction::Egress,
            holder,
            Standing::Lapsed,
            Progress::Other(false),
            Instant::now(),
        );
        entry.refuse(refused.into());
        entry
    }

    fn told(entry: &Entry) -> u16 {
        let record = entry.record(&key(1), None);
        u16::try_from(record.refused).unwrap()
    }

    #[test]
    fn what_each_packet_needs_lies_in_two_lines() {
        let rest = offset_of!(Slot, entry) + offset_of!(Entry, since);
        assert!(rest <= 2 * 64, "{rest}");
        assert_eq!(size_of::<Option<Slot>>(), 3 * 64);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u16),
        Remove(u16),
        Look(u16),
    }

    proptest! {
        /// As any map: also right after what was found last is gone, or another has its slot.
        #[test]
        fn they_are_a_map(steps in prop::collection::vec(prop_oneof![
            (0..6_u16, any::<u16>()).prop_map(|(key, value)| Step::Insert(key, value)),
            (0..6_u16).prop_map(Step::Remove),
            (0..6_u16).prop_map(Step::Look),
        ], 0..60)) {
            let (mut entries, mut model) = (Entries::default(), HashMap::new());
            for step in steps {
                match step {
                    Step::Insert(port, value) => {
                        entries.insert(key(port), entry(value));
                        model.insert(port, value);
                    }
                    Step::Remove(port) => {
                        let removed = entries.remove(&key(port)).as_ref().map(told);
                        prop_assert_eq!(removed, model.remove(&port));
                    }
                    Step::Look(port) => {
                        let found = entries.get(&key(port)).map(told);
                        prop_assert_eq!(found, model.get(&port).copied());
                        let found = entries.get_mut(&key(port)).map(|entry| told(entry));
                        prop_assert_eq!(found, model.get(&port).copied());
                    }
                }
                prop_assert_eq!(entries.len(), model.len());
                prop_assert_eq!(entries.iter().count(), model.len());
                prop_assert_eq!(entries.is_empty(), model.is_empty());
            }
        }
    }
}
