//! Flows of one world, as packets show them: whether one has a port or an ICMP type follows from its protocol, which guest and names the
//! other end has from its address, and nothing is known of a process. Widths hold in such a world.

use std::net::IpAddr;

use bartizan_policy::{Direction, FlowWidth};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::requests::{
    Doing, Owned, OwnedFlow, OwnedGuest, OwnedProcess, address, direction, icmp_type, names,
    other_end, port,
};
use super::words::{ADDRESSES, PROTOCOLS};

/// What is so of each address; of others no guest and no name is known.
#[derive(Clone, Debug)]
pub struct Facts(Vec<Fact>);

#[derive(Clone, Debug)]
struct Fact {
    guest: Option<Option<OwnedGuest>>,
    names: Vec<&'static str>,
}

/// What of a flow is its own.
#[derive(Clone, Copy, Debug)]
struct Bare {
    direction: Direction,
    protocol: u8,
    address: IpAddr,
    port: u16,
    icmp_type: u8,
}

/// Facts, and so many flows of their world.
pub fn flows(
    count: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = (Facts, Vec<Owned>)> {
    let guest = prop_oneof![2 => Just(Some(None)), 1 => of(of(other_end()))];
    let fact = (guest, names()).prop_map(|(guest, names)| Fact { guest, names });
    let facts = vec(fact, ADDRESSES.len()).prop_map(Facts);
    let protocol = prop_oneof![9 => select(&PROTOCOLS[..]), 1 => any::<u8>()];
    let bare = (direction(), protocol, address(), port(), icmp_type()).prop_map(
        |(direction, protocol, address, port, icmp_type)| Bare {
            direction,
            protocol,
            address,
            port,
            icmp_type,
        },
    );
    (facts, vec(bare, count)).prop_map(|(facts, bare)| {
        let flows = bare.iter().map(|bare| facts.flow(bare)).collect();
        (facts, flows)
    })
}

impl Facts {
    /// The other flow, with as little as must be of a width for it to be one of those: what it takes is from the `low` or the high end.
    /// None where these are no flows.
    #[must_use]
    pub fn within(
        &self,
        width: &FlowWidth,
        one: &Owned,
        other: &Owned,
        low: bool,
    ) -> Option<Owned> {
        let (one, mut bare) = (bare(one)?, bare(other)?);
        fn end<T: Copy>((first, last): (T, T), low: bool) -> T {
            if low { first } else { last }
        }
        if let Some(direction) = width.direction {
            bare.direction = direction;
        }
        if let Some(protocol) = width.protocol {
            bare.protocol = protocol;
        }
        if let Some(peers) = width.peers {
            bare.address = end(peers, low);
        }
        if let Some(ports) = width.ports {
            bare.port = end(ports, low);
            if !has_ports(bare.protocol) {
                bare.protocol = one.protocol;
            }
        }
        if let Some(types) = width.icmp_types {
            bare.icmp_type = end(types, low);
            if !has_types(bare.protocol) {
                bare.protocol = one.protocol;
            }
        }
        Some(self.flow(&bare))
    }

    fn flow(&self, bare: &Bare) -> Owned {
        let at = ADDRESSES.iter().position(|one| *one == bare.address);
        let fact = at.and_then(|at| self.0.get(at));
        let (guest, names) = match fact {
            Some(fact) => (fact.guest.clone(), fact.names.clone()),
            None => (Some(None), Vec::new()),
        };
        Owned {
            process: OwnedProcess::default(),
            doing: Doing::Network(OwnedFlow {
                direction: bare.direction,
                protocol: bare.protocol,
                address: bare.address,
                port: has_ports(bare.protocol).then_some(bare.port),
                icmp_type: has_types(bare.protocol).then_some(bare.icmp_type),
                guest,
                names,
            }),
        }
    }
}

fn bare(of: &Owned) -> Option<Bare> {
    let Doing::Network(flow) = &of.doing else {
        return None;
    };
    Some(Bare {
        direction: flow.direction,
        protocol: flow.protocol,
        address: flow.address,
        port: flow.port.unwrap_or_default(),
        icmp_type: flow.icmp_type.unwrap_or_default(),
    })
}

/// TCP, UDP.
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17)
}

/// ICMP, ICMPv6.
const fn has_types(protocol: u8) -> bool {
    matches!(protocol, 1 | 58)
}
