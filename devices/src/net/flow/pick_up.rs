//! TCP connections that began before this process did: their handshakes are on no record.
//!
//! A segment from a connection's middle may be taken up as a flow, once the flow was allowed in the direction in which it may have
//! begun. Which end that was nobody here knows: the end with the higher port is taken for it first, then the other. What the
//! sender's side was allowed goes with the packet, so that the receiver's side asks about the same.
//!
//! ```text
//!   A ── a segment ──► may A have begun it? ── else: may B? ── as A's (or B's) ──► may it have been A's (or B's)? ──► B
//!                      by what was decided of A                                by what was decided of B
//! ```
//!
//! Known attack: a guest sends segments without a handshake, to look behind a filter or to carry data past it. It gains
//! nothing by this beyond what a handshake that both sides are allowed would give it; and it can do so only for a guest that
//! ran when this process began, to another such, and only for [`PICK_UP`] from then on. Afterwards, and between all other
//! guests, it is refused as ever.
//!
//! Known attack: two guests that work together have each side take another direction for the right one, and talk on ports on
//! which neither may begin: hence the mark on the packet, which no guest can write.

use std::time::Duration;

use bartizan_local::flow::Direction;

use super::key::{Key, opposite};
use crate::net::frame::{Flags, Transport};
use crate::net::packet::{Beginner, Packet};

/// How long after the start of this process connections are taken up. Hosts send again what is not acknowledged within it, and
/// most programs that keep a connection idle say something within it.
pub const PICK_UP: Duration = Duration::from_secs(5 * 60);

/// By whom a connection may have begun, as seen from the guest: first the one, else the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Begun {
    pub(super) first: Direction,
    /// Whether the other is to be tried as well.
    pub(super) or_other: bool,
}

impl Begun {
    /// Of a packet of no flow that is known; none where it is of no connection that could be taken up.
    pub(super) fn of(packet: &Packet, key: &Key, way: Direction) -> Option<Self> {
        let Transport::Tcp { flags, .. } = packet.frame.ip()?.transport else {
            return None;
        };
        // What opens a connection, and what ends one that is on no record, takes none up.
        if !flags.has(Flags::ACK) || flags.has(Flags::SYN | Flags::RST) {
            return None;
        }
        match (way, packet.begun_by) {
            (Direction::Egress, _) => Some(Self {
                first: key.likely_begun()?,
                or_other: true,
            }),
            (Direction::Ingress, Some(beginner)) => Some(Self {
                first: direction(beginner, way),
                or_other: false,
            }),
            // Its sender's side knows its handshake, and this side does not.
            (Direction::Ingress, None) => None,
        }
    }
}

/// As seen from the guest, of a packet that goes that way.
pub(super) const fn direction(beginner: Beginner, way: Direction) -> Direction {
    match beginner {
        Beginner::Sender => way,
        Beginner::Receiver => opposite(way),
    }
}

/// As it is told with a packet of the guest's.
pub(super) const fn beginner(begun: Direction) -> Beginner {
    match begun {
        Direction::Egress => Beginner::Sender,
        Direction::Ingress => Beginner::Receiver,
    }
}
