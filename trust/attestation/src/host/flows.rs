//! What the hypervisor shows of a guest's flows.

use std::net::IpAddr;

use minicbor::{Decode, Encode};

use crate::cbor::at_most;
use crate::operation::{CaptureLimits, FlowFilter};

/// Most flows in one frame.
pub const MAX_FLOWS: usize = 128;

/// Of a guest's flows.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ObserveFlows {
    /// Its name or UUID.
    #[n(0)]
    pub vm: String,
    /// Which.
    #[n(1)]
    pub filter: FlowFilter,
    /// What of them.
    #[n(2)]
    pub what: Observation,
}

/// What is seen of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Observation {
    /// Those that there are, and the latest of those that are over.
    #[n(0)]
    List,
    /// Each that ends, for so many seconds.
    #[n(1)]
    Watch(#[n(0)] u32),
    /// Their packets, as a pcap file.
    #[n(2)]
    Capture(#[n(0)] CaptureLimits),
}

/// A part of what is seen, none of which but the last is the answer's end.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FlowsSeen {
    /// Flows.
    #[n(0)]
    Flows(#[cbor(n(0), decode_with = "at_most_flows")] Vec<FlowShown>),
    /// The next bytes of a pcap file.
    #[n(1)]
    Pcap(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// It goes on, and so much there was.
    #[n(2)]
    Going(#[n(0)] FlowsTally),
    /// It is over.
    #[n(3)]
    Ended {
        /// Why.
        #[n(0)]
        why: FlowsEnd,
        /// How much there was.
        #[n(1)]
        tally: FlowsTally,
    },
}

fn at_most_flows<C>(
    from: &mut minicbor::Decoder<'_>,
    context: &mut C,
) -> Result<Vec<FlowShown>, minicbor::decode::Error> {
    at_most::<{ MAX_FLOWS as u64 }, C, FlowShown>(from, context)
}

/// What was seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FlowsTally {
    /// Flows, or packets.
    #[n(0)]
    pub told: u64,
    /// Bytes of these packets.
    #[n(1)]
    pub bytes: u64,
    /// Those that were left out, since they were not read in time.
    #[n(2)]
    pub dropped: u64,
}

/// Why there is no more to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum FlowsEnd {
    /// That is all.
    #[n(0)]
    Complete,
    /// As many packets as were wanted.
    #[n(1)]
    Packets,
    /// As many bytes.
    #[n(2)]
    Bytes,
    /// The time is over.
    #[n(3)]
    Time,
    /// The guest has ended, or its device was attached anew.
    #[n(4)]
    Gone,
    /// Whoever saw it has left.
    #[n(5)]
    Left,
}

/// A flow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FlowShown {
    /// Whether the guest has begun it.
    #[n(0)]
    pub by_guest: bool,
    /// The protocol's number (IANA).
    #[n(1)]
    pub protocol: u8,
    /// The guest's address.
    #[n(2)]
    pub local: IpAddr,
    /// The other end's.
    #[n(3)]
    pub peer: IpAddr,
    /// The port of whoever began it; none where there is none, and of attempts by several.
    #[n(4)]
    pub begun_port: Option<u16>,
    /// The port of whoever did not.
    #[n(5)]
    pub port: Option<u16>,
    /// The type of an ICMP message.
    #[n(6)]
    pub icmp_type: Option<u8>,
    /// Whether the other end is outside of the host.
    #[n(14)]
    pub outside: bool,
    /// When its first packet came, in milliseconds since the Unix epoch.
    #[n(7)]
    pub began_ms: u64,
    /// When the last one did.
    #[n(8)]
    pub last_ms: u64,
    /// Packets of the guest's that passed, and their bytes.
    #[n(9)]
    pub sent: (u64, u64),
    /// Packets for the guest that passed, and their bytes.
    #[n(10)]
    pub received: (u64, u64),
    /// Packets that did not pass.
    #[n(11)]
    pub refused: u64,
    /// What was decided; none where nothing is yet, or was not in time.
    #[n(12)]
    pub decision: Option<FlowDecision>,
    /// Why it is over, if it is.
    #[n(13)]
    pub end: Option<FlowEnd>,
}

/// What was decided on a flow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FlowDecision {
    /// Whether it may be.
    #[n(0)]
    pub allowed: bool,
    /// The rule that decided, `POLICY/RULE`; or why none did.
    #[n(1)]
    pub rule: String,
    /// The number of the set of policies.
    #[n(2)]
    pub policy_epoch: u64,
    /// The number of what the guest was taken for.
    #[n(3)]
    pub state_epoch: u64,
}

/// Why a flow is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum FlowEnd {
    /// Its ends have closed it, or one has broken it off.
    #[n(0)]
    Closed,
    /// No packet of it came for long.
    #[n(1)]
    Idle,
    /// It was denied.
    #[n(2)]
    Denied,
    /// It was not decided on in time.
    #[n(3)]
    Undecided,
    /// Another has begun in its place.
    #[n(4)]
    Replaced,
}

impl FlowEnd {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Denied => "denied",
            Self::Undecided => "undecided",
            Self::Replaced => "replaced",
        }
    }
}

impl FlowsEnd {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Time => "time",
            Self::Gone => "gone",
            Self::Left => "left",
        }
    }
}
