//! What one guest may have held here, and how much of it for whom.
//!
//! Known attack: one peer that may speak to a guest opens connections until the guest's table is full, or has packets wait
//! until nothing more may, so that nobody else reaches the guest and it reaches nobody. So what others begin has a pool of its
//! own beside what the guest begins, and of each pool a peer has a share (see [`Shares`]), by its Ethernet address, which
//! devices vouch for. What is outside of this host has a pool of its own of what others begin, of which each address there has a
//! share, each network of IPv6 one: it is no one's word that an address is its sender's, so that all of them together may
//! take the pool from one another, and nothing from guests. What a guest has no room for is refused, never let by, and takes nothing of another guest's: each has a
//! budget of its own.

use std::net::IpAddr;

use bartizan_local::flow::Direction;

use crate::net::frame::{Frame, Mac};
use crate::net::shares::Shares;
use crate::net::uplink;

/// What one guest may have held here of each direction, and as much of what begins outside of this host. One peer alone gets half of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Flows.
    pub flows: usize,
    /// Of these, TCP connections whose handshake is not done.
    pub half_open: usize,
    /// Questions that are not answered yet.
    pub questions: usize,
    /// Packets of one flow that wait for its verdict.
    pub held_of_flow: usize,
    /// Bytes of all packets that wait.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 24 << 10,
            half_open: 4 << 10,
            questions: 256,
            held_of_flow: 4,
            held_bytes: 512 << 10,
        }
    }
}

/// For whom something is held here: who begins it, or sends it, and the guest's peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Holder {
    direction: Direction,
    peer: Peer,
}

/// A guest's peer, as far as what is held for it is told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Peer {
    /// On the guest's segment.
    Station(Mac),
    /// Outside: an address, or the network of one of IPv6, since whoever has one of these has 2^64.
    Outside([u8; 8]),
}

impl Holder {
    /// Of a frame that goes that way.
    pub(super) fn of(frame: &Frame, way: Direction) -> Self {
        let ip = frame.ip();
        let (mac, address) = match way {
            Direction::Egress => (frame.destination, ip.map(|ip| ip.destination)),
            Direction::Ingress => (frame.source, ip.map(|ip| ip.source)),
        };
        let peer = match address {
            Some(address) if uplink::is_peer_outside(frame, way) => Peer::Outside(block(address)),
            _ => Peer::Station(mac),
        };
        Self {
            direction: way,
            peer,
        }
    }
}

fn block(address: IpAddr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            return [a, b, c, d, 0, 0, 0, 0];
        }
        IpAddr::V6(address) => address.octets(),
    };
    [a, b, c, d, e, f, g, h]
}

/// Something of which there is a pool a direction, and one of what begins outside.
#[derive(Debug)]
pub(super) struct Pools {
    egress: Shares<Peer>,
    ingress: Shares<Peer>,
    outside: Shares<Peer>,
}

/// The budget of one guest.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) flows: Pools,
    pub(super) half_open: Pools,
    pub(super) questions: Pools,
    pub(super) held_bytes: Pools,
    pub(super) held_of_flow: usize,
}

impl Budget {
    /// Nothing of it is used.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            flows: Pools::new(limits.flows),
            half_open: Pools::new(limits.half_open),
            questions: Pools::new(limits.questions),
            held_bytes: Pools::new(limits.held_bytes),
            held_of_flow: limits.held_of_flow,
        }
    }
}

impl Pools {
    fn new(limit: usize) -> Self {
        Self {
            egress: Shares::new(limit),
            ingress: Shares::new(limit),
            outside: Shares::new(limit),
        }
    }

    /// Whether so much more may be held for that one.
    pub(super) fn fits(&self, holder: Holder, amount: usize) -> bool {
        let shares = match (holder.direction, holder.peer) {
            (Direction::Egress, _) => &self.egress,
            (Direction::Ingress, Peer::Station(_)) => &self.ingress,
            (Direction::Ingress, Peer::Outside(_)) => &self.outside,
        };
        shares.fits(holder.peer, amount)
    }

    /// Takes so much, if it may be.
    pub(super) fn take(&mut self, holder: Holder, amount: usize) -> bool {
        self.shares(holder).take(holder.peer, amount)
    }

    /// Takes so much, whether it may be or not.
    pub(super) fn add(&mut self, holder: Holder, amount: usize) {
        self.shares(holder).add(holder.peer, amount);
    }

    /// Gives so much back.
    pub(super) fn give_back(&mut self, holder: Holder, amount: usize) {
        self.shares(holder).give_back(holder.peer, amount);
    }

    const fn shares(&mut self, holder: Holder) -> &mut Shares<Peer> {
        match (holder.direction, holder.peer) {
            (Direction::Egress, _) => &mut self.egress,
            (Direction::Ingress, Peer::Station(_)) => &mut self.ingress,
            (Direction::Ingress, Peer::Outside(_)) => &mut self.outside,
        }
    }

    /// What is held of all.
    #[cfg(test)]
    pub(super) const fn used(&self) -> usize {
        self.egress.used() + self.ingress.used() + self.outside.used()
    }
}
