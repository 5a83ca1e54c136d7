//! Devices ⇄ who decides on flows: what the first packet of a flow waits for, and what makes cached verdicts stale.
//!
//! Frames both ways, [`FromDevices`] and [`ToDevices`], each answered when it can be: a [`Question`] by the [`Verdict`] of the same
//! number, an [`Epoch`] by [`FromDevices::InForce`]. The hypervisor hands them on to the enclave and back, and reads none.
//!
//! ```text
//!   devices ── Question 7: may this flow of that guest be? ──► hypervisor ══ TLS ══► enclave
//!   devices ◄── Verdict 7: it may, so says that rule; likewise all flows so wide ──┘
//!   devices ◄── Epoch: what was decided before does not hold any more
//!   devices ── InForce: no packet is judged by that any more ──►
//!   devices ── Isolated: that one was cut off, and is ──►
//!   devices ◄── Resolvers: whose DNS answers to that guest are looked at
//!   devices ── Resolved 8: it has that answer, and waits ──►
//!   devices ◄── Noted 8: it is known, the guest may have it
//! ```
//!
//! These words are here, beside the other links of devices, so that a process which maps guests' RAM links no parser of policies.

mod named;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minicbor::{Decode, Encode};

pub use named::{MAX_NAMED, MAX_RESOLVERS, Noted, Resolved, Resolvers};

/// Largest frame either way, in bytes.
pub const MAX_FRAME: usize = 16 << 10;

/// Most widths of a [`Fallback`].
pub const MAX_FALLBACK: usize = 64;

/// A guest of this host in one boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Guest {
    /// The VM's UUID.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub vm: [u8; 16],
    /// Its boot counter.
    #[n(1)]
    pub boot: u64,
}

/// What devices say.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FromDevices {
    /// A flow has begun, and waits.
    #[n(0)]
    Question(#[n(0)] Question),
    /// From now on no packet of the guest is judged by what was decided before this epoch.
    #[n(1)]
    InForce(#[n(0)] GuestEpoch),
    /// This VM, by its UUID, is cut from every network, as whoever decided before said: first of all on a link, since who decides now may be
    /// another, and not know.
    #[n(2)]
    Isolated(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]),
    /// A DNS answer for a guest has come, and waits; or one that came while another decided.
    #[n(3)]
    Resolved(#[n(0)] Resolved),
}

/// What devices are told.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ToDevices {
    /// The answer to a question.
    #[n(0)]
    Verdict(#[n(0)] Verdict),
    /// What was decided on a guest before this epoch does not hold any more.
    #[n(1)]
    Epoch(#[n(0)] GuestEpoch),
    /// Whether a guest is cut from every network, whatever else was decided, in this boot and those that come.
    #[n(2)]
    Isolate {
        /// Which: its VM.
        #[n(0)]
        guest: Guest,
        /// Whether.
        #[n(1)]
        isolated: bool,
    },
    /// What may begin while nobody can decide.
    #[n(3)]
    Fallback(#[n(0)] Fallback),
    /// Whose DNS answers a guest's names are believed from.
    #[n(4)]
    Resolvers(#[n(0)] Resolvers),
    /// What an answer says is known: the guest may have it.
    #[n(5)]
    Noted(#[n(0)] Noted),
}

/// The first packet of a flow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Question {
    /// Of this link: no other question has it.
    #[n(0)]
    pub number: u64,
    /// Whose flow.
    #[n(1)]
    pub guest: Guest,
    /// The flow.
    #[n(2)]
    pub flow: Flow,
    /// For how many seconds it has been: 0 of one that begins.
    #[n(3)]
    pub since_s: u64,
}

/// The flows of a guest that may begin while nobody can decide; before it is told, and in another epoch, none.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Fallback {
    /// Whose, and in which epoch it holds.
    #[n(0)]
    pub of: GuestEpoch,
    /// Each of these may; [`MAX_FALLBACK`] at most.
    #[n(1)]
    pub allowed: Vec<Width>,
}

/// A flow, seen from the guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Flow {
    /// Who begins it.
    #[n(0)]
    pub direction: Direction,
    /// The protocol's number (IANA): that of the last header of IPv6.
    #[n(1)]
    pub protocol: u8,
    /// The other end.
    #[n(2)]
    pub peer: IpAddr,
    /// The port of whoever did not begin it; none where the protocol has none.
    #[n(3)]
    pub port: Option<u16>,
    /// The type of an ICMP message; none where it is no ICMP.
    #[n(4)]
    pub icmp_type: Option<u8>,
    /// Whether the other end is outside of this host: it is no guest of the segment, whatever address it has.
    #[n(5)]
    pub outside: bool,
}

/// Whether a protocol has ports: TCP, UDP, DCCP, SCTP and UDP-Lite have (IANA), each the sender's and the receiver's before all else.
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// Who begins a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Direction {
    /// The other end.
    #[n(0)]
    Ingress,
    /// The guest.
    #[n(1)]
    Egress,
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Verdict {
    /// The question's number.
    #[n(0)]
    pub number: u64,
    /// Its guest.
    #[n(1)]
    pub guest: Guest,
    /// By what it was decided.
    #[n(2)]
    pub epoch: Epoch,
    /// Whether the flow may be.
    #[n(3)]
    pub allowed: bool,
    /// Whether it may be while nobody can decide.
    #[n(4)]
    pub allowed_unavailable: bool,
    /// The rule that decided, `POLICY/RULE`; or why none did. For people.
    #[n(5)]
    pub reason: String,
    /// The flows of the guest of which the same was decided.
    #[n(6)]
    pub width: Width,
    /// For how many seconds flows may begin by it: what was decided by names that end. Left out, until another epoch.
    #[n(7)]
    pub begin_within_s: Option<u64>,
}

/// Flows: all that is given must hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Width {
    /// Who begins them; left out, either.
    #[n(0)]
    pub direction: Option<Direction>,
    /// Their protocol; left out, any.
    #[n(1)]
    pub protocol: Option<u8>,
    /// The other end; left out, any.
    #[n(2)]
    pub peers: Option<Peers>,
    /// The ports, the first and the last; left out, any and none.
    #[n(3)]
    pub ports: Option<(u16, u16)>,
    /// The types of ICMP messages, the first and the last; left out, any and none.
    #[n(4)]
    pub icmp_types: Option<(u8, u8)>,
    /// Whether the other end is outside of this host; left out, either.
    #[n(5)]
    pub outside: Option<bool>,
}

/// Addresses from the first to the last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum Peers {
    /// IPv4.
    #[n(0)]
    V4(#[n(0)] Ipv4Addr, #[n(1)] Ipv4Addr),
    /// IPv6.
    #[n(1)]
    V6(#[n(0)] Ipv6Addr, #[n(1)] Ipv6Addr),
}

/// By what a guest's flows are decided: each goes up, neither ever down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Epoch {
    /// Of the policies.
    #[n(0)]
    pub policy: u64,
    /// Of what the guest is taken for.
    #[n(1)]
    pub state: u64,
}

/// The epoch of one guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct GuestEpoch {
    /// Whose.
    #[n(0)]
    pub guest: Guest,
    /// Which.
    #[n(1)]
    pub epoch: Epoch,
}

impl Epoch {
    /// Whether what was decided in this one holds in another.
    #[must_use]
    pub const fn holds_in(self, present: Self) -> bool {
        self.policy >= present.policy && self.state >= present.state
    }
}

impl Peers {
    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(first, last), IpAddr::V4(address)) => (first..=last).contains(&&address),
            (Self::V6(first, last), IpAddr::V6(address)) => (first..=last).contains(&&address),
            _ => false,
        }
    }
}

impl Width {
    /// Whether a flow is one of them.
    #[must_use]
    pub fn contains(&self, flow: &Flow) -> bool {
        let within = |range: Option<(u16, u16)>, number: Option<u16>| match (range, number) {
            (None, _) => true,
            (Some((first, last)), Some(number)) => (first..=last).contains(&number),
            (Some(_), None) => false,
        };
        let types = self
            .icmp_types
            .map(|(first, last)| (first.into(), last.into()));
        self.direction
            .is_none_or(|direction| direction == flow.direction)
            && self
                .protocol
                .is_none_or(|protocol| protocol == flow.protocol)
            && self.peers.is_none_or(|peers| peers.contains(flow.peer))
            && within(self.ports, flow.port)
            && within(types, flow.icmp_type.map(u16::from))
            && self.outside.is_none_or(|outside| outside == flow.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    const FLOW: Flow = Flow {
        direction: Direction::Egress,
        protocol: 6,
        peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)),
        port: Some(443),
        icmp_type: None,
        outside: false,
    };

    #[test]
    fn a_width_contains_what_all_of_it_holds_for() {
        let peers = |last| {
            Some(Peers::V4(
                Ipv4Addr::new(10, 0, 0, 0),
                Ipv4Addr::new(10, 0, 0, last),
            ))
        };
        let width = Width {
            direction: Some(Direction::Egress),
            protocol: Some(6),
            peers: peers(255),
            ports: Some((443, 443)),
            icmp_types: None,
            outside: Some(false),
        };
        assert!(Width::default().contains(&FLOW) && width.contains(&FLOW));
        for narrower in [
            Width {
                direction: Some(Direction::Ingress),
                ..width
            },
            Width {
                protocol: Some(17),
                ..width
            },
            Width {
                peers: peers(6),
                ..width
            },
            Width {
                peers: Some(Peers::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from(u128::MAX))),
                ..width
            },
            Width {
                ports: Some((444, 500)),
                ..width
            },
            Width {
                icmp_types: Some((0, 255)),
                ..width
            },
            Width {
                outside: Some(true),
                ..width
            },
        ] {
            assert!(!narrower.contains(&FLOW), "{narrower:?}");
        }
    }

    #[test]
    fn what_was_decided_before_either_number_went_up_does_not_hold() {
        let epoch = |policy, state| Epoch { policy, state };
        assert!(epoch(3, 1).holds_in(epoch(3, 1)) && epoch(4, 1).holds_in(epoch(3, 1)));
        assert!(!epoch(3, 1).holds_in(epoch(4, 1)) && !epoch(4, 1).holds_in(epoch(3, 2)));
    }

    #[test]
    fn messages_are_read_as_written() {
        let guest = Guest {
            vm: [7; 16],
            boot: 2,
        };
        let question = FromDevices::Question(Question {
            number: 1,
            guest,
            flow: FLOW,
            since_s: 60,
        });
        assert_eq!(decode::<FromDevices>(&encode(&question)).unwrap(), question);
        let isolated = FromDevices::Isolated([7; 16]);
        assert_eq!(decode::<FromDevices>(&encode(&isolated)).unwrap(), isolated);
        let verdict = ToDevices::Verdict(Verdict {
            number: 1,
            guest,
            epoch: Epoch {
                policy: 1,
                state: 0,
            },
            allowed: true,
            allowed_unavailable: false,
            reason: "web/https".into(),
            width: Width {
                peers: Some(Peers::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)),
                ..Width::default()
            },
            begin_within_s: Some(30),
        });
        assert_eq!(decode::<ToDevices>(&encode(&verdict)).unwrap(), verdict);
    }
}
