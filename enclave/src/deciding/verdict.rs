//! From a question to a verdict, by the policies of its guest.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_local::flow::{
    Direction as FlowDirection, Epoch, Flow, Guest as GuestBoot, Peers as Addresses, Question,
    Verdict, Width,
};
use bartizan_policy::{
    self as policy, Compiled, Decided, Depended, Direction, Effect, Extent, Field, Kind, Known,
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
        allowed_unavailable: decision.on_unavailable == Effect::Allow,
        reason: bounded(match decision.by {
            Decided::Rule(rule) => format!("{}/{}", rule.policy, rule.rule),
            Decided::Default(kind) => {
                debug_assert_eq!(kind, Kind::Network);
                "no rule matches: the default for networks".to_owned()
            }
            Decided::NoPolicy => "no policy selects this guest".to_owned(),
        }),
        width: width(flow, &depended),
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

/// The flows of which the same is decided.
fn width(flow: &Flow, depended: &[Depended]) -> Width {
    let mut width = Width::default();
    for Depended { field, extent } in depended {
        match field {
            Field::Direction => width.direction = Some(flow.direction),
            Field::Protocol => width.protocol = Some(flow.protocol),
            Field::Address => width.peers = Some(narrowed(width.peers, flow.peer, *extent)),
            // Of this address alone it is known who has it.
            Field::PeerRole | Field::PeerLabel(_) | Field::PeerNames => {
                width.peers = Some(narrowed(width.peers, flow.peer, Extent::Exactly));
            }
            Field::Port => match flow.port {
                Some(port) => width.ports = Some(range(port, *extent, u16::MAX)),
                // Whether there is one its protocol says.
                None => width.protocol = Some(flow.protocol),
            },
            Field::IcmpType => match flow.icmp_type {
                Some(kind) => width.icmp_types = Some(range(kind, *extent, u8::MAX)),
                None => width.protocol = Some(flow.protocol),
            },
            // Known of no packet: the same for all.
            Field::Executable | Field::ExecutableSha256 | Field::Uid => {}
            // No rule on flows looks at these.
            Field::Program
            | Field::ProgramSha256
            | Field::Path
            | Field::Access
            | Field::Call
            | Field::Argument(..) => {}
        }
    }
    width
}

/// The addresses of an extent that includes the peer's, or it alone if it was narrowed to that before.
fn narrowed(before: Option<Addresses>, peer: IpAddr, extent: Extent) -> Addresses {
    let alone = match peer {
        IpAddr::V4(peer) => Addresses::V4(peer, peer),
        IpAddr::V6(peer) => Addresses::V6(peer, peer),
    };
    if before == Some(alone) {
        return alone;
    }
    match (peer, extent) {
        (IpAddr::V4(peer), extent @ Extent::Numbers { .. }) => {
            let (first, last) = range(peer.to_bits(), extent, u32::MAX);
            Addresses::V4(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
        }
        (IpAddr::V6(_), Extent::Numbers { first, last }) => {
            Addresses::V6(Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last))
        }
        (_, Extent::Exactly) => alone,
    }
}

/// The numbers of an extent that includes this one; what is over the most that there is ends there.
fn range<N: TryFrom<u128> + Copy>(number: N, extent: Extent, most: N) -> (N, N) {
    match extent {
        Extent::Numbers { first, last } => {
            let first = N::try_from(first).unwrap_or(number);
            (first, N::try_from(last).unwrap_or(most))
        }
        Extent::Exactly => (number, number),
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
