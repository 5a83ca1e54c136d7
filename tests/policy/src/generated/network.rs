//! What rules say of flows.

use bartizan_policy::{Direction, Network, Peer, Protocol};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::policies::{labels, words};
use super::rules::{parsed, ranges};
use super::words::{HOSTS, NETWORKS, PORTS, ROLES, TYPES};

/// Protocols by name, and one by number that also has a name.
const PROTOCOLS: [Protocol; 7] = [
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Icmp,
    Protocol::Icmpv6,
    Protocol::Sctp,
    Protocol::Number(47),
    Protocol::Number(6),
];

pub(super) fn network() -> impl Strategy<Value = Network> {
    let direction = of(select(&[Direction::Ingress, Direction::Egress][..]));
    let protocols = of(subsequence(&PROTOCOLS[..], 1..=3));
    let numbers = (of(ranges(&PORTS)), rarely(ranges(&TYPES)));
    (direction, protocols, peer(), numbers).prop_map(
        |(direction, protocols, peer, (ports, icmp_types))| Network {
            direction,
            protocols,
            peer,
            ports,
            icmp_types,
        },
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    let names = rarely(parsed(&HOSTS));
    (
        of(parsed(&NETWORKS)),
        rarely(words(&ROLES)),
        labels(),
        names,
    )
        .prop_map(|(addresses, roles, labels, names)| Peer {
            addresses,
            roles,
            labels,
            names,
        })
}

/// One in four: a rule that asks for all at once matches nothing.
fn rarely<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    proptest::option::weighted(0.25, strategy)
}
