//! From a question to a verdict, by the policies of its guest.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_local::flow::{
    Direction as FlowDirection, Epoch, Flow, Guest as GuestBoot, Peers as Addresses, Question,
    Verdict, Width,
};
use bartizan_policy::{
    self as policy, Compiled, Decided, Depended, Direction, Effect, FlowWidth, Kind, Known,
    Operation, PeerGuest, Process, Request,
};

use super::guest::{Network, WatchedGuest};
use super::guest_at;

/// Most bytes of a reason.
const MAX_REASON: usize = 512;

/// The others of a guest's segment.
pub(super) struct Peers<'g> {
    pub(super) guests: &'g BTreeMap<GuestBoot, WatchedGuest>,
    pub(super) network: Option<&'g Network>,
}

/// Decides by what is compiled for the guest.
pub(super) fn of(
    question: &Question,
    epoch: Epoch,
    compiled: &Compiled,
    peers: &Peers<'_>,
) -> Verdict {
    let flow = &question.flow;
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
            guest: peers.at(flow.peer),
            names: &[],
        }),
    };
    let (decision, depended) = compiled.decide_widely(&request);
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
        width: width(flow, &request, &depended),
    }
}

/// Denies a question and all others of its guest.
pub(super) fn refusal(question: &Question, epoch: Epoch, reason: &str) -> Verdict {
    Verdict {
        number: question.number,
        guest: question.guest,
        epoch,
        allowed: false,
        allowed_unavailable: false,
        reason: bounded(reason.to_owned()),
        width: Width::default(),
    }
}

impl<'g> Peers<'g> {
    /// The guest at an address, as far as it is known: what has an address of the segment and does not run on this host may be a
    /// guest of another.
    fn at(&self, address: IpAddr) -> Known<Option<PeerGuest<'g>>> {
        let network = self.network?;
        match guest_at(self.guests, &network.segment, address) {
            Some(guest) => Some(Some(PeerGuest {
                role: &guest.guest().role,
                labels: &guest.guest().labels,
            })),
            None if network.is_near(address) => None,
            None => Some(None),
        }
    }
}

/// The flows of which the same is decided; this one alone where that cannot be told.
fn width(flow: &Flow, request: &Request<'_>, depended: &[Depended]) -> Width {
    let Some(width) = FlowWidth::of(request, depended) else {
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
