//! Packets that have arrived, whose memory the next ones are read into.
//!
//! A packet's memory is taken where it is sent and given up where it is delivered, by another thread as a rule, which is what
//! allocators are slow at. So whoever delivers keeps it, and whoever sends to it fetches it there. Nothing is read of what such
//! a packet was: all of it is written anew.

use super::packet::Packet;

/// Most that are kept at a time.
const MOST: usize = 256;
/// Most bytes that one may have room for: of long segments there are few, and their copying takes longer.
const MOST_BYTES: usize = 2048;

/// Some of them.
#[derive(Debug, Default)]
pub struct Spares(Vec<Packet>);

impl Spares {
    /// Keeps one, if there is room.
    pub fn keep(&mut self, packet: Packet) {
        if self.0.len() < MOST && packet.bytes.capacity() <= MOST_BYTES {
            self.0.push(packet);
        }
    }

    /// Takes one.
    pub(super) fn take(&mut self) -> Option<Packet> {
        self.0.pop()
    }

    /// Whether these are fewer than a device sends in a turn.
    pub(super) fn are_few(&self) -> bool {
        self.0.len() < MOST / 2
    }

    /// Whether there are more than a device sends in a turn.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() > MOST / 2
    }

    /// Moves to another's what that one has room for.
    pub(super) fn move_to(&mut self, other: &mut Self) {
        let room = MOST.saturating_sub(other.0.len());
        let from = self.0.len().saturating_sub(room);
        other.0.extend(self.0.drain(from..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sample::{ipv4, station, udp};

    fn packet(size: usize) -> Packet {
        let body = udp(1, 2, &vec![7; size]);
        Packet::own(ipv4(station(1), station(2), 17, &body)).unwrap()
    }

    #[test]
    fn few_are_kept_and_no_large_ones() {
        let (mut one, mut other) = (Spares::default(), Spares::default());
        for _ in 0..2 * MOST {
            one.keep(packet(100));
            other.keep(packet(MOST_BYTES));
        }
        assert_eq!((one.0.len(), other.0.len()), (MOST, 0));
        one.move_to(&mut other);
        assert_eq!((one.0.len(), other.0.len()), (0, MOST));
        one.keep(packet(1));
        one.move_to(&mut other);
        assert_eq!((one.0.len(), other.0.len()), (1, MOST));
    }
}
