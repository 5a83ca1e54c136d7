//! By what a packet's flow is found.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use bartizan_local::flow::{Direction, Flow, has_ports};

use crate::net::frame::{Frame, Icmp, Quoted, Transport, protocol};
use crate::net::uplink;

/// A flow of one guest, in a few words: it is compared with another one at every packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The guest's address, and the other end's: those of version 4 as RFC 4291 section 2.5.5.2 maps them.
    local: [u64; 2],
    peer: [u64; 2],
    /// All else, from its lowest byte on: [`kind`] and bits of its own, the protocol, and two numbers of two bytes each.
    rest: u64,
}

/// What tells flows of the same two addresses apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    /// Nothing that is known.
    Opaque,
    /// Both have ports.
    Ports { local: u16, peer: u16 },
    /// Questions and answers of that identifier, asked that way.
    Echo { asked: Direction, id: u16 },
    /// Messages of that type, that way: they have no answers.
    Message { sent: Direction, kind: u8 },
}

/// Which of [`Ends`] a key has.
mod kind {
    pub(super) const OPAQUE: u8 = 0;
    pub(super) const PORTS: u8 = 1;
    pub(super) const ECHO: u8 = 2;
    pub(super) const MESSAGE: u8 = 3;
    /// The bits that say it.
    pub(super) const BITS: u8 = 3;
}

/// The addresses are of version 6.
const V6: u8 = 4;
/// The other end is outside of this host.
///
/// Known attack: somebody outside takes a guest's address while that guest has no device, and goes on in its flows.
const OUTSIDE: u8 = 8;

/// All of it, in one piece: a hash costs as many steps as it is fed in.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ([a, b], [c, d]) = (self.local, self.peer);
        let mut bytes = [0; 40];
        for (place, word) in bytes.chunks_exact_mut(8).zip([a, b, c, d, self.rest]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        state.write(&bytes);
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
    #[inline]
    pub(super) fn of(frame: &Frame, way: Direction) -> Self {
        let Some(ip) = frame.ip() else {
            return Self::None;
        };
        let (local, peer) = ends(way, ip.source, ip.destination);
        let outside = uplink::is_peer_outside(frame, way);
        let key = |ends| Key::new(ip.protocol, (local, peer), outside, ends);
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
                    Some(key) if key.local() == local && (key.peer() == peer || by_router) => {
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
            // Of the first three it is said above.
            Transport::Tcp { .. }
            | Transport::Udp { .. }
            | Transport::Ported { .. }
            | Transport::Other => Self::Of(key(Ends::Opaque), true),
        }
    }
}

impl Key {
    /// Between the guest's address and the other end's, which are of one version.
    #[inline]
    fn new(protocol: u8, (local, peer): (IpAddr, IpAddr), outside: bool, ends: Ends) -> Self {
        let (kind, first, second) = match ends {
            Ends::Opaque => (kind::OPAQUE, 0, 0),
            Ends::Ports { local, peer } => (kind::PORTS, local, peer),
            Ends::Echo { asked, id } => (kind::ECHO, id, asked as u16),
            Ends::Message { sent, kind } => (kind::MESSAGE, kind.into(), sent as u16),
        };
        let version = if local.is_ipv6() { V6 } else { 0 };
        let side = if outside { OUTSIDE } else { 0 };
        let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
        Self {
            local: words(local),
            peer: words(peer),
            rest: u64::from_be_bytes([0, 0, a, b, c, d, protocol, kind | version | side]),
        }
    }

    const fn ends(&self) -> Ends {
        let [_, _, a, b, c, d, _, bits] = self.rest.to_be_bytes();
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let way = if second == Direction::Egress as u16 {
            Direction::Egress
        } else {
            Direction::Ingress
        };
        match bits & kind::BITS {
            kind::PORTS => Ends::Ports {
                local: first,
                peer: second,
            },
            kind::ECHO => Ends::Echo {
                asked: way,
                id: first,
            },
            kind::MESSAGE => Ends::Message { sent: way, kind: b },
            _ => Ends::Opaque,
        }
    }

    const fn protocol(&self) -> u8 {
        let [.., protocol, _] = self.rest.to_be_bytes();
        protocol
    }

    const fn has(&self, bit: u8) -> bool {
        let [.., bits] = self.rest.to_be_bytes();
        bits & bit != 0
    }

    const fn address(&self, [high, low]: [u64; 2]) -> IpAddr {
        let address = Ipv6Addr::from_bits((high as u128) << 64 | low as u128);
        match address.to_ipv4_mapped() {
            Some(address) if !self.has(V6) => IpAddr::V4(address),
            _ => IpAddr::V6(address),
        }
    }

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
            number if has_ports(number) => {
                let (local, peer) = self::ends(went, quoted.ports.0, quoted.ports.1);
                Ends::Ports { local, peer }
            }
            protocol::ICMP | protocol::ICMPV6 => Ends::Echo {
                asked: went,
                id: quoted.echo()?,
            },
            _ => Ends::Opaque,
        };
        Some(Self::new(quoted.protocol, (local, peer), outside, ends))
    }

    /// Whether the other end is outside of this host.
    pub(super) const fn is_outside(&self) -> bool {
        self.has(OUTSIDE)
    }

    /// The guest's address.
    pub(super) const fn local(&self) -> IpAddr {
        self.address(self.local)
    }

    /// The other end's.
    pub(super) const fn peer(&self) -> IpAddr {
        self.address(self.peer)
    }

    /// The port of whoever began it, where there are ports.
    pub(super) const fn begun_port(&self, begun: Direction) -> Option<u16> {
        match (self.ends(), begun) {
            (Ends::Ports { local, .. }, Direction::Egress) => Some(local),
            (Ends::Ports { peer, .. }, Direction::Ingress) => Some(peer),
            _ => None,
        }
    }

    /// By whom a connection of it was begun, more likely than not: who has the lower port serves. Of the same connection each
    /// end's side says the same. None where there are no ports.
    pub(super) fn likely_begun(&self) -> Option<Direction> {
        let Ends::Ports { local, peer } = self.ends() else {
            return None;
        };
        let serves = (peer, self.peer) < (local, self.local);
        Some(if serves {
            Direction::Egress
        } else {
            Direction::Ingress
        })
    }

    /// As it is asked about, begun that way.
    pub(super) fn flow(&self, begun: Direction) -> Flow {
        let protocol = self.protocol();
        let (port, icmp_type) = match (self.ends(), begun) {
            (Ends::Ports { peer, .. }, Direction::Egress) => (Some(peer), None),
            (Ends::Ports { local, .. }, Direction::Ingress) => (Some(local), None),
            (Ends::Echo { .. }, _) => (None, Icmp::echo_request(protocol)),
            (Ends::Message { kind, .. }, _) => (None, Some(kind)),
            (Ends::Opaque, _) => (None, None),
        };
        Flow {
            direction: begun,
            protocol,
            peer: self.peer(),
            port,
            icmp_type,
            outside: self.is_outside(),
        }
    }
}

/// Of an address of either version.
const fn words(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let [a, b, c, d, e, f, g, h, rest @ ..] = bits.to_be_bytes();
    [
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes(rest),
    ]
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        let v4 = any::<[u32; 2]>().prop_map(|pair| pair.map(|bits| IpAddr::V4(bits.into())));
        let v6 = any::<[u128; 2]>().prop_map(|pair| pair.map(|bits| IpAddr::V6(bits.into())));
        // Of version 6, though they look like those of version 4.
        let mapped = any::<[u32; 2]>()
            .prop_map(|pair| pair.map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped())));
        prop_oneof![v4, v6, mapped].prop_map(|[local, peer]| (local, peer))
    }

    fn way() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Direction::Egress), Just(Direction::Ingress)]
    }

    fn ends() -> impl Strategy<Value = Ends> {
        prop_oneof![
            Just(Ends::Opaque),
            any::<(u16, u16)>().prop_map(|(local, peer)| Ends::Ports { local, peer }),
            (way(), any::<u16>()).prop_map(|(asked, id)| Ends::Echo { asked, id }),
            (way(), any::<u8>()).prop_map(|(sent, kind)| Ends::Message { sent, kind }),
        ]
    }

    proptest! {
        /// Known attack: two flows with one key, so that what was decided of the one holds for the other. All that a key is made of can be
        /// read from it, so no two are.
        #[test]
        fn it_tells_all_that_it_was_made_of(
            protocol in any::<u8>(),
            addresses in addresses(),
            outside in any::<bool>(),
            ends in ends(),
        ) {
            let key = Key::new(protocol, addresses, outside, ends);
            prop_assert_eq!((key.local(), key.peer()), addresses);
            prop_assert_eq!(
                (key.protocol(), key.is_outside(), key.ends()),
                (protocol, outside, ends)
            );
        }
    }
}
