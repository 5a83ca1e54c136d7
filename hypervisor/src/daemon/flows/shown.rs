//! From devices' words to those that operators read, and back.

use std::net::IpAddr;

use bartizan_attestation::host::{
    FlowDecision, FlowEnd, FlowShown, FlowsEnd, FlowsTally, Observation,
};
use bartizan_attestation::operation::FlowFilter;
use bartizan_local::flow::{Direction, Peers};
use bartizan_local::observation::{self, Amount, FlowRecord, ObservationEnd, Tally};

pub(super) fn filter(filter: &FlowFilter) -> observation::Filter {
    let peers = |range| match range {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some(Peers::V4(first, last)),
        (IpAddr::V6(first), IpAddr::V6(last)) => Some(Peers::V6(first, last)),
        // INVARIANT: both are of the network's version.
        _ => None,
    };
    observation::Filter {
        protocol: filter.protocol,
        addresses: filter.network.and_then(|network| peers(network.range())),
        ports: filter.ports,
    }
}

pub(super) const fn what(what: &Observation) -> observation::Observation {
    match *what {
        Observation::List => observation::Observation::List,
        Observation::Watch(seconds) => observation::Observation::Watch { seconds },
        Observation::Capture(limits) => {
            observation::Observation::Capture(observation::CaptureLimits {
                packets: limits.packets,
                bytes: limits.bytes,
                snap: limits.snap,
                seconds: limits.seconds,
            })
        }
    }
}

pub(super) fn flow(record: &FlowRecord) -> FlowShown {
    let amount = |of: Amount| (of.packets, of.bytes);
    FlowShown {
        by_guest: record.flow.direction == Direction::Egress,
        protocol: record.flow.protocol,
        local: record.local,
        peer: record.flow.peer,
        begun_port: record.begun_port,
        port: record.flow.port,
        icmp_type: record.flow.icmp_type,
        outside: record.flow.outside,
        began_ms: record.began_ms,
        last_ms: record.last_ms,
        sent: amount(record.sent),
        received: amount(record.received),
        refused: record.refused,
        decision: record.decision.as_ref().map(|decision| FlowDecision {
            allowed: decision.allowed,
            rule: decision.rule.clone(),
            policy_epoch: decision.epoch.policy,
            state_epoch: decision.epoch.state,
        }),
        end: record.end.map(|end| match end {
            observation::FlowEnd::Closed => FlowEnd::Closed,
            observation::FlowEnd::Idle => FlowEnd::Idle,
            observation::FlowEnd::Denied => FlowEnd::Denied,
            observation::FlowEnd::Undecided => FlowEnd::Undecided,
            observation::FlowEnd::Replaced => FlowEnd::Replaced,
        }),
    }
}

pub(super) const fn tally(tally: Tally) -> FlowsTally {
    FlowsTally {
        told: tally.told,
        bytes: tally.bytes,
        dropped: tally.dropped,
    }
}

pub(super) const fn end(why: ObservationEnd) -> FlowsEnd {
    match why {
        ObservationEnd::Complete => FlowsEnd::Complete,
        ObservationEnd::Packets => FlowsEnd::Packets,
        ObservationEnd::Bytes => FlowsEnd::Bytes,
        ObservationEnd::Time => FlowsEnd::Time,
        ObservationEnd::Gone => FlowsEnd::Gone,
    }
}
