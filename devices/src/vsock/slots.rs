//! The bounded table of a guest's connections.

use std::collections::HashMap;

use super::connection::Connection;
use super::packet::Ports;

/// Connections by slot and by ports.
pub(super) struct Slots {
    slots: Vec<Option<(Ports, Connection)>>,
    free: Vec<usize>,
    by_ports: HashMap<Ports, usize>,
}

impl Slots {
    /// A table for at most `limit` connections.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            slots: (0..limit).map(|_| None).collect(),
            free: (0..limit).rev().collect(),
            by_ports: HashMap::new(),
        }
    }

    /// The slot that the next connection will get, if there is room.
    pub(super) fn vacancy(&self) -> Option<usize> {
        self.free.last().copied()
    }

    /// Puts a connection into the vacancy.
    pub(super) fn insert(&mut self, ports: Ports, connection: Connection) {
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.slots.get_mut(slot)
        {
            *place = Some((ports, connection));
            self.by_ports.insert(ports, slot);
        }
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, slot: usize) -> Option<(Ports, Connection)> {
        let (ports, connection) = self.slots.get_mut(slot)?.take()?;
        self.by_ports.remove(&ports);
        self.free.push(slot);
        Some((ports, connection))
    }

    pub(super) fn find(&self, ports: Ports) -> Option<usize> {
        self.by_ports.get(&ports).copied()
    }

    pub(super) fn at(&mut self, slot: usize) -> Option<(Ports, &mut Connection)> {
        self.slots
            .get_mut(slot)?
            .as_mut()
            .map(|(ports, connection)| (*ports, connection))
    }

    /// All connections with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.by_ports.values().filter_map(|&slot| {
            self.slots
                .get(slot)?
                .as_ref()
                .map(|(_, connection)| (slot, connection))
        })
    }
}
