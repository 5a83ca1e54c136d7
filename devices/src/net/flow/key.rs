//! By what a packet's flow is found.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use bartizan_local::flow::{Direction, Flow};

use crate::net::frame::{Frame, Icmp, Quoted, Transport, protocol};
use crate::net::uplink;

/// A flow of one guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    protocol: u8,
    /// The guest's address.
    local: IpAddr,
    /// The other end's.
    peer: IpAddr,
    /// Whether the other end is outside of this host.
    ///
    /// Known attack: somebody outside takes a guest's address while that guest has no device, and goes on in its flows.
    outside: bool,
    ends: Ends,
}

/// What tells flows of the same two addresses apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    /// Both have ports.
    Ports { local: u16, peer: u16 },
    /// Questions and answers of that identifier, asked that way.
    Echo { asked: Direction, id: u16 },
    /// Messages of that type, that way: they have no answers.
    Message { sent: Direction, kind: u8 },
    /// Nothing that is known.
    Opaque,
}

/// All of it, in one piece: a hash costs as many steps as it is fed in.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, first, second): (u64, _, _) = match self.ends {
            Ends::Ports { local, peer } => (0, local, peer),
            Ends::Echo { asked, id } => (1, id, asked as u16),
            Ends::Message { sent, kind } => (2, kind.into(), sent as u16),
            Ends::Opaque => (3, 0, 0),
        };
        let ends = u64::from(first) << 32
            | u64::from(second) << 16
            | u64::from(self.protocol) << 8
            | u64::from(self.outside) << 2
            | kind;
        let mut bytes = [0; 40];
        let (local, others) = bytes.split_at_mut(16);
        let (peer, last) = others.split_at_mut(16);
        local.copy_from_slice(&octets(self.local));
        peer.copy_from_slice(&octets(self.peer));
        last.copy_from_slice(&ends.to_ne_bytes());
        state.write(&bytes);
    }
}

/// Of an address of either version.
const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// What a packet is to flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Of this flow; if there is none, whether it may begin it.
    Of(Key, bool),
    /// Of what became of a packet of this flow.
    Error(Key),
    /// Of none.
    None,
}

impl Part {
    /// Of a packet that goes that way.
    pub(super) fn of(frame: &Frame, way: Direction) -> Self {
        let Some(ip) = frame.ip() else {
            return Self::None;
        };
        let (local, peer) = ends(way, ip.source, ip.destination);
        let outside = uplink::is_peer_outside(frame, way);
        let key = |ends| Key {
            protocol: ip.protocol,
            local,
            peer,
            outside,
            ends,
        };
        if let Some((source, destination)) = ip.transport.ports() {
            let (local, peer) = self::ends(way, source, destination);
            return Self::Of(key(Ends::Ports { local, peer }), true);
        }
        match &ip.transport {
            Transport::Icmp(Icmp::EchoRequest { id, .. }) => Self::Of(
                key(Ends::Echo {
                    asked: way,
                    id: *id,
                }),
                true,
            ),
            Transport::Icmp(Icmp::EchoReply { id, .. }) => {
                let asked = opposite(way);
                Self::Of(key(Ends::Echo { asked, id: *id }), false)
            }
            Transport::Icmp(Icmp::Error { quoted, .. }) => {
                // Known attack: a third station tells one end of a flow that it is broken. Only its other end may; and whoever is
                // outside, of a flow to there: routers on the way are told by no address (RFC 1191 section 4).
                let by_router = outside && way == Direction::Ingress;
                match Key::quoted(quoted, way, outside) {
                    Some(key) if key.local == local && (key.peer == peer || by_router) => {
                        Self::Error(key)
                    }
                    _ => Self::None,
                }
            }
            Transport::Icmp(Icmp::Other { kind }) => {
                let (sent, kind) = (way, *kind);
                Self::Of(key(Ends::Message { sent, kind }), true)
            }
            Transport::Neighbour(_) => Self::None,
            // Of the first two it is said above.
            Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Other => {
                Self::Of(key(Ends::Opaque), true)
            }
        }
    }
}

impl Key {
    /// Of a packet that its guest sends, for tests.
    #[cfg(test)]
    pub(super) fn of_sent(packet: &crate::net::packet::Packet) -> Self {
        match Part::of(&packet.frame, Direction::Egress) {
            Part::Of(key, _) => key,
            other => panic!("{other:?} is no flow's"),
        }
    }

    /// Of the packet in an error that goes that way: it went the other.
    fn quoted(quoted: &Quoted, way: Direction, outside: bool) -> Option<Self> {
        let went = opposite(way);
        let (local, peer) = ends(went, quoted.source, quoted.destination);
        let ends = match quoted.protocol {
            protocol::TCP | protocol::UDP => {
                let (local, peer) = self::ends(went, quoted.ports.0, quoted.ports.1);
                Ends::Ports { local, peer }
            }
            protocol::ICMP | protocol::ICMPV6 => Ends::Echo {
                asked: went,
                id: quoted.echo()?,
            },
            _ => Ends::Opaque,
        };
        Some(Self {
            protocol: quoted.protocol,
            local,
            peer,
            outside,
            ends,
        })
    }

    /// The guest's address.
    pub(super) const fn local(&self) -> IpAddr {
        self.local
    }

    /// The port of whoever began it, where there are ports.
    pub(super) const fn begun_port(&self, begun: Direction) -> Option<u16> {
        match (self.ends, begun) {
            (Ends::Ports { local, .. }, Direction::Egress) => Some(local),
            (Ends::Ports { peer, .. }, Direction::Ingress) => Some(peer),
            _ => None,
        }
    }

    /// By whom a connection of it was begun, more likely than not: who has the lower port serves. Of the same connection each
    /// end's side says the same. None where there are no ports.
    pub(super) fn likely_begun(&self) -> Option<Direction> {
        let Ends::Ports { local, peer } = self.ends else {
            return None;
        };
        let serves = (peer, self.peer) < (local, self.local);
        Some(if serves {
            Direction::Egress
        } else {
            Direction::Ingress
        })
    }

    /// As it is asked about, begun that way by a message of that type where it is of ICMP.
    pub(super) fn flow(&self, begun: Direction, icmp_type: Option<u8>) -> Flow {
        let port = match (self.ends, begun) {
            (Ends::Ports { peer, .. }, Direction::Egress) => Some(peer),
            (Ends::Ports { local, .. }, Direction::Ingress) => Some(local),
            _ => None,
        };
        Flow {
            direction: begun,
            protocol: self.protocol,
            peer: self.peer,
            port,
            icmp_type,
            outside: self.outside,
        }
    }
}

/// The guest's and the other end's, of a sender's and a receiver's.
fn ends<T>(way: Direction, sender: T, receiver: T) -> (T, T) {
    match way {
        Direction::Egress => (sender, receiver),
        Direction::Ingress => (receiver, sender),
    }
}

/// The way back.
pub(super) const fn opposite(way: Direction) -> Direction {
    match way {
        Direction::Egress => Direction::Ingress,
        Direction::Ingress => Direction::Egress,
    }
}
