//! The hypervisor daemon → devices: what is seen of a guest's flows.
//!
//! On a connection of its own to the socket at which devices are admitted, the daemon's one frame is
//! [`AdmissionRequest::Observe`](crate::admission::AdmissionRequest::Observe). Devices answer by [`Observed`] frames, of which
//! [`Observed::Ended`] or [`Observed::Refused`] is the last. Whoever closes the connection ends it.
//!
//! ```text
//!   List       (Flows | Going)*            Ended     live flows first, then those that are over
//!   Watch      Going (Flows | Going)*      Ended     each flow as it ends, once the first Going has said that it begins
//!   Capture    Going (Packets | Going)*    Ended     what the guest sent, and what it was given, likewise
//! ```
//!
//! Known attack: whoever observes does not read, so that memory is filled, or the guest waits. What devices keep for a reader is
//! bounded; what is beyond it they leave out, and say how much that was.

use std::net::IpAddr;

use minicbor::{Decode, Encode};

use crate::flow::{Direction, Epoch, Flow, Guest, Peers};

/// Largest frame of devices', in bytes: one longest frame of a guest's, and some.
pub const MAX_FRAME: usize = 256 << 10;

/// Most seconds of a watch or a capture.
pub const MAX_SECONDS: u32 = 3600;

/// Most bytes of one packet that are captured: an Ethernet header, and a largest IP packet.
pub const MAX_SNAP: u32 = 14 + 0xffff;

/// What the daemon wants to see.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Observe {
    /// Whose flows.
    #[n(0)]
    pub guest: Guest,
    /// Which of them.
    #[n(1)]
    pub filter: Filter,
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
    /// Each that ends.
    #[n(1)]
    Watch {
        /// For so long, 1 to [`MAX_SECONDS`].
        #[n(0)]
        seconds: u32,
    },
    /// Their packets.
    #[n(2)]
    Capture(#[n(0)] CaptureLimits),
}

/// Where a capture ends, whichever comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct CaptureLimits {
    /// After so many packets, at least 1.
    #[n(0)]
    pub packets: u64,
    /// After so many captured bytes, at least 1.
    #[n(1)]
    pub bytes: u64,
    /// Of each packet so many bytes are captured, 1 to [`MAX_SNAP`].
    #[n(2)]
    pub snap: u32,
    /// After so many seconds, 1 to [`MAX_SECONDS`].
    #[n(3)]
    pub seconds: u32,
}

/// Flows: all that is given must hold.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Filter {
    /// The protocol's number (IANA).
    #[n(0)]
    pub protocol: Option<u8>,
    /// The address of either end.
    #[n(1)]
    pub addresses: Option<Peers>,
    /// The port of either end, the first and the last.
    #[n(2)]
    pub ports: Option<(u16, u16)>,
}

/// The two ends of a flow, or of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// The protocol's number (IANA).
    pub protocol: u8,
    /// Their addresses.
    pub addresses: [IpAddr; 2],
    /// Their ports, where the protocol has any.
    pub ports: [Option<u16>; 2],
}

/// What devices answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Observed {
    /// Flows.
    #[n(0)]
    Flows(#[n(0)] Vec<FlowRecord>),
    /// Packets, in order.
    #[n(1)]
    Packets(#[n(0)] Vec<CapturedPacket>),
    /// It has begun, or goes on: once a second, whether there is anything else to say or not.
    #[n(2)]
    Going(#[n(0)] Tally),
    /// It is over.
    #[n(3)]
    Ended {
        /// Why.
        #[n(0)]
        why: ObservationEnd,
        /// What there was.
        #[n(1)]
        tally: Tally,
    },
    /// It does not begin.
    #[n(4)]
    Refused(#[n(0)] ObservationRefusal),
}

/// What was observed so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Tally {
    /// Flows, or packets, that were told.
    #[n(0)]
    pub told: u64,
    /// Bytes of these packets.
    #[n(1)]
    pub bytes: u64,
    /// Those that were left out, since what was told was not read in time.
    #[n(2)]
    pub dropped: u64,
}

/// Why an observation is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum ObservationEnd {
    /// There is no more.
    #[n(0)]
    Complete,
    /// So many packets there are.
    #[n(1)]
    Packets,
    /// So many bytes there are.
    #[n(2)]
    Bytes,
    /// Its time is over.
    #[n(3)]
    Time,
    /// The guest's device is gone.
    #[n(4)]
    Gone,
}

/// Why there is nothing to be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum ObservationRefusal {
    /// The guest has no network device that serves.
    #[n(0)]
    #[error("the guest has no network device that serves")]
    NoDevice,
    /// There are as many observations as there may be.
    #[n(1)]
    #[error("as many observations are under way as there may be")]
    TooMany,
    /// A limit is none.
    #[n(2)]
    #[error("a limit is out of bounds")]
    Limits,
}

/// A packet of a guest's, or for it, as it was on its device.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct CapturedPacket {
    /// When, in nanoseconds since the Unix epoch.
    #[n(0)]
    pub at_ns: u64,
    /// Whether the guest has sent it, or was given it.
    #[n(1)]
    pub way: Direction,
    /// Its length in bytes, from its Ethernet header on.
    #[n(2)]
    pub length: u32,
    /// Its first bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// What is known of a flow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FlowRecord {
    /// The flow, as it is decided on.
    #[n(0)]
    pub flow: Flow,
    /// The guest's address.
    #[n(1)]
    pub local: IpAddr,
    /// The port of whoever began it; none where the protocol has none, and of attempts by several.
    #[n(2)]
    pub begun_port: Option<u16>,
    /// When its first packet came, in milliseconds since the Unix epoch.
    #[n(3)]
    pub began_ms: u64,
    /// When the last one did.
    #[n(4)]
    pub last_ms: u64,
    /// What passed of the guest's.
    #[n(5)]
    pub sent: Amount,
    /// What passed for the guest.
    #[n(6)]
    pub received: Amount,
    /// Packets that did not pass by what was decided.
    #[n(7)]
    pub refused: u64,
    /// What was decided last.
    #[n(8)]
    pub decision: Option<Decision>,
    /// Why it is over, if it is.
    #[n(9)]
    pub end: Option<FlowEnd>,
}

/// Packets, as the guest's driver has them: one may be as long as 64 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Amount {
    /// How many.
    #[n(0)]
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    #[n(1)]
    pub bytes: u64,
}

/// What was decided on a flow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Decision {
    /// Whether it may be.
    #[n(0)]
    pub allowed: bool,
    /// The rule that decided, `POLICY/RULE`; or why none did.
    #[n(1)]
    pub rule: String,
    /// In which epoch.
    #[n(2)]
    pub epoch: Epoch,
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
    /// It was denied, and is remembered no longer.
    #[n(2)]
    Denied,
    /// It was not decided on in time.
    #[n(3)]
    Undecided,
    /// Another has begun in its place.
    #[n(4)]
    Replaced,
}

impl Filter {
    /// Whether these are the ends of one of them.
    #[must_use]
    pub fn contains(&self, ends: &Ends) -> bool {
        let is_port = |(first, last): (u16, u16), port: Option<u16>| {
            port.is_some_and(|port| (first..=last).contains(&port))
        };
        let has_address = |peers: Peers| ends.addresses.iter().any(|one| peers.contains(*one));
        let has_port = |ports| ends.ports.iter().any(|one| is_port(ports, *one));
        self.protocol.is_none_or(|number| number == ends.protocol)
            && self.addresses.is_none_or(has_address)
            && self.ports.is_none_or(has_port)
    }

    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl FlowRecord {
    /// Its ends.
    #[must_use]
    pub const fn ends(&self) -> Ends {
        Ends {
            protocol: self.flow.protocol,
            addresses: [self.local, self.flow.peer],
            ports: [self.flow.port, self.begun_port],
        }
    }
}

impl Observation {
    /// Whether its limits are within bounds.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let lasts = |seconds: u32| (1..=MAX_SECONDS).contains(&seconds);
        match self {
            Self::List => true,
            Self::Watch { seconds } => lasts(*seconds),
            Self::Capture(limits) => {
                lasts(limits.seconds)
                    && (1..=MAX_SNAP).contains(&limits.snap)
                    && limits.packets > 0
                    && limits.bytes > 0
            }
        }
    }
}

#[cfg(test)]
mod tests;
