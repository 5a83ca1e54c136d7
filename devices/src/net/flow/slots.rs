//! A guest's flows by their keys.
//!
//! Packets come in trains: the flow that was found last is looked at first, which costs a comparison and no hash. The hash is keyed at random
//! (SipHash), so that nobody can choose flows that lie in one place.

use std::cell::Cell;
use std::collections::HashMap;

use super::entry::Entry;
use super::key::Key;

/// All of one guest.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Of each key, its slot.
    places: HashMap<Key, usize>,
    slots: Vec<Option<(Key, Entry)>>,
    /// Slots without a flow.
    free: Vec<usize>,
    /// The slot that was found last, whatever is in it by now.
    last: Cell<usize>,
}

impl Entries {
    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        let slot = self.slots.get(self.find(key)?)?;
        slot.as_ref().map(|(_, entry)| entry)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        let place = self.find(key)?;
        let slot = self.slots.get_mut(place)?;
        slot.as_mut().map(|(_, entry)| entry)
    }

    pub(super) fn contains_key(&self, key: &Key) -> bool {
        self.find(key).is_some()
    }

    /// Enters a flow, in the place of the one that has its key.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(&key);
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Some((key, entry));
            self.places.insert(key, place);
            self.last.set(place);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Entry> {
        let place = self.places.remove(key)?;
        self.free.push(place);
        let (_, entry) = self.slots.get_mut(place)?.take()?;
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        let flows = self.slots.iter().flatten();
        flows.map(|(key, entry)| (key, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let last = self.last.get();
        if let Some(Some((of, _))) = self.slots.get(last)
            && of == key
        {
            return Some(last);
        }
        let place = *self.places.get(key)?;
        self.last.set(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use bartizan_local::flow::{Direction, Flow};
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

    fn entry(port: u16) -> Entry {
        let packet = Packet::own(ipv4(station(1), station(2), 17, &udp(1, 53, b""))).unwrap();
        let flow = Flow {
            direction: Direction::Egress,
            protocol: 17,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(port),
            icmp_type: None,
        };
        let holder = Holder::of(&packet.frame, Direction::Egress);
        Entry::new(
            flow,
            holder,
            Standing::Lapsed,
            Progress::Other(false),
            Instant::now(),
        )
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
                        let removed = entries.remove(&key(port)).and_then(|entry| entry.flow.port);
                        prop_assert_eq!(removed, model.remove(&port));
                    }
                    Step::Look(port) => {
                        let found = entries.get(&key(port)).and_then(|entry| entry.flow.port);
                        prop_assert_eq!(found, model.get(&port).copied());
                        let found = entries.get_mut(&key(port)).and_then(|entry| entry.flow.port);
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
