//! From a question to a verdict, by the policies of its guest.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use bartizan_local::flow::{
    Direction as FlowDirection, Epoch, Flow, Guest as GuestBoot, Peers as Addresses, Question,
    Verdict, Width, has_ports,
};
use bartizan_policy::{
    self as policy, Compiled, Decided, Decision, Depended, Direction, Effect, Field, FlowWidth,
    Kind, Known, Operation, PeerGuest, Process, Request,
};

use super::guest::{Network, WatchedGuest};
use super::guest_at;
use super::names::{Names, NamesOf};

/// Most bytes of a reason.
const MAX_REASON: usize = 512;

/// What is known of a guest's peers: who is on its segment, and the names that it has heard.
pub(super) struct Peers<'g> {
    pub(super) guests: &'g BTreeMap<GuestBoot, WatchedGuest>,
    pub(super) network: Option<&'g Network>,
    pub(super) names: &'g Names,
}

/// What is decided on a flow.
pub(super) struct Found<'c> {
    pub(super) decision: Decision<'c>,
    /// How wide the same holds.
    pub(super) width: Width,
    /// Whether it depended on the names of the other end.
    by_names: bool,
}

/// Decides by what is compiled for the guest.
pub(super) fn of(
    question: &Question,
    epoch: Epoch,
    compiled: &Compiled,
    peers: &Peers<'_>,
    now: Instant,
) -> Verdict {
    // No rule by port would match, one that denies among them.
    if has_ports(question.flow.protocol) && question.flow.port.is_none() {
        let width = Width {
            protocol: Some(question.flow.protocol),
            ..Width::default()
        };
        return refusal(question, epoch, "its port is not said", width);
    }
    let since = Duration::from_secs(question.since_s);
    let names = peers.names_of(&question.flow, since, now);
    let Found {
        decision,
        width,
        by_names,
    } = decide(&question.flow, compiled, peers, &names);
    let until = names.until.filter(|_| by_names);
    Verdict {
        number: question.number,
        guest: question.guest,
        epoch,
        allowed: decision.effect == Effect::Allow,
        allowed_unavailable: decision.unavailable == Effect::Allow,
        reason: bounded(match decision.by {
            Decided::Rule(rule) => format!("{}/{}", rule.policy, rule.rule),
            Decided::Default(kind) => {
                debug_assert_eq!(kind, Kind::Network);
                "no rule matches: the default for networks".to_owned()
            }
            Decided::NoPolicy => "no policy selects this guest".to_owned(),
        }),
        width,
        begin_within_s: until.map(|until| until.saturating_duration_since(now).as_secs()),
    }
}

/// Decides on a flow to whoever has these names.
pub(super) fn decide<'c>(
    flow: &Flow,
    compiled: &'c Compiled,
    peers: &Peers<'_>,
    names: &NamesOf<'_>,
) -> Found<'c> {
    let request = Request {
        // Whose packet it is is not known from outside.
        process: Process::default(),
        operation: Operation::Network(policy::Flow {
            direction: match flow.direction {
                FlowDirection::Ingress => Direction::Ingress,
                FlowDirection::Egress => Direction::Egress,
            },
            protocol: flow.protocol,
            address: flow.peer,
            port: flow.port,
            icmp_type: flow.icmp_type,
            guest: peers.at(flow),
            names: names.names(),
        }),
    };
    let (decision, depended) = compiled.decide_widely(&request);
    Found {
        decision,
        width: width(flow, &request, &depended, peers),
        by_names: depended.iter().any(|one| one.field == Field::PeerNames),
    }
}

/// Denies a question, and all others of its guest that are as wide.
pub(super) fn refusal(question: &Question, epoch: Epoch, reason: &str, width: Width) -> Verdict {
    Verdict {
        number: question.number,
        guest: question.guest,
        epoch,
        allowed: false,
        allowed_unavailable: false,
        reason: bounded(reason.to_owned()),
        width,
        begin_within_s: None,
    }
}

impl<'g> Peers<'g> {
    /// Those of all guests of the segment.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let segment = self.network.map(|network| network.segment.as_str());
        let there = self.guests.values().filter_map(WatchedGuest::network);
        there
            .filter(move |network| Some(network.segment.as_str()) == segment)
            .flat_map(|network| network.addresses.iter().map(|(address, _)| *address))
    }

    /// The guest at the other end, as far as it is known: what has an address of the segment and does not run on this host may be a
    /// guest of another.
    ///
    /// Known attack: somebody outside has the address of a guest that has no device just then, and is taken for that guest.
    fn at(&self, flow: &Flow) -> Known<Option<PeerGuest<'g>>> {
        let network = self.network?;
        match guest_at(self.guests, &network.segment, flow.peer) {
            Some(guest) if !flow.outside => Some(Some(PeerGuest {
                role: &guest.guest().role,
                labels: &guest.guest().labels,
            })),
            Some(_) => None,
            None if network.near(flow.peer).is_some() => None,
            None => Some(None),
        }
    }

    /// The names of the other end. Likewise those of a guest are of nobody outside.
    fn names_of(&self, flow: &Flow, since: Duration, now: Instant) -> NamesOf<'g> {
        let segment = self.network.map(|network| network.segment.as_str());
        let is_guests =
            segment.is_some_and(|segment| guest_at(self.guests, segment, flow.peer).is_some());
        if flow.outside && (is_guests || self.names.are_guests(flow.peer)) {
            return NamesOf::unknown();
        }
        self.names.of(flow.peer, since, now)
    }

    /// The addresses around the other end's of which the same is known, the first and the last: of those of the segment each by itself, of
    /// others that nobody there has them, and that no rule is about their names. Outside, in the network of the segment too.
    fn alike(&self, flow: &Flow) -> (IpAddr, IpAddr) {
        let address = flow.peer;
        let alone = (address, address);
        let Some(network) = self.network else {
            return alone;
        };
        let near = network.near(address);
        let all: (IpAddr, IpAddr) = match address {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
            IpAddr::V6(_) => (
                Ipv6Addr::UNSPECIFIED.into(),
                IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            ),
        };
        let (mut first, mut last) = match near {
            Some(near) if flow.outside => near,
            Some(_) => return alone,
            None => all,
        };
        let whose = self.addresses().chain(self.names.addresses());
        let whose = whose.map(|one| (one, one));
        // Within its own network it is looked at for the addresses of that.
        let others = network.networks().filter(|other| Some(*other) != near);
        for (from, to) in whose.chain(others) {
            if from.is_ipv4() != address.is_ipv4() {
                continue;
            }
            if from <= address && address <= to {
                return alone;
            }
            if to < address {
                first = first.max(next(to).unwrap_or(address));
            } else {
                last = last.min(former(from).unwrap_or(address));
            }
        }
        (first, last)
    }
}

/// The flows of which the same is decided; this one alone where that cannot be told.
fn width(flow: &Flow, request: &Request<'_>, depended: &[Depended], peers: &Peers<'_>) -> Width {
    let Some(width) = FlowWidth::of_alike(request, depended, peers.alike(flow)) else {
        return exactly(flow);
    };
    let peers = match width.peers {
        None => None,
        Some((IpAddr::V4(first), IpAddr::V4(last))) => Some(Addresses::V4(first, last)),
        Some((IpAddr::V6(first), IpAddr::V6(last))) => Some(Addresses::V6(first, last)),
        // Of no family.
        Some(_) => return exactly(flow),
    };
    Width {
        direction: width.direction.map(|_| flow.direction),
        protocol: width.protocol,
        peers,
        ports: width.ports,
        icmp_types: width.icmp_types,
        outside: is_by_whose(depended).then_some(flow.outside),
    }
}

/// Whether it matters who has the other end's address: whoever is outside is nobody who is on the segment.
fn is_by_whose(depended: &[Depended]) -> bool {
    let is_by = |field: &Field| {
        matches!(
            field,
            Field::PeerRole | Field::PeerLabel(_) | Field::PeerNames
        )
    };
    depended.iter().any(|one| is_by(&one.field))
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into()),
    }
}

fn former(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_sub(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_sub(1)?).into()),
    }
}

fn exactly(flow: &Flow) -> Width {
    Width {
        direction: Some(flow.direction),
        protocol: Some(flow.protocol),
        peers: Some(match flow.peer {
            IpAddr::V4(peer) => Addresses::V4(peer, peer),
            IpAddr::V6(peer) => Addresses::V6(peer, peer),
        }),
        ports: flow.port.map(|port| (port, port)),
        icmp_types: flow.icmp_type.map(|kind| (kind, kind)),
        outside: Some(flow.outside),
    }
}

fn bounded(mut reason: String) -> String {
    let mut end = MAX_REASON.min(reason.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
