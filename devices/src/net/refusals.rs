//! Why packets of one port do not pass, counted.

use std::collections::BTreeMap;
use std::fmt;

use bartizan_local::flow::Direction;

use super::deliver::DeliverError;
use super::dns::NamesError;
use super::flow::{FlowError, TcpError};
use super::frame::FrameError;
use super::guard::Spoof;
use super::header::HeaderError;
use super::packet::PacketError;
use super::port::Refusal;
use super::uplink::OutsideError;

/// Declares [`Reason`] and what each one is called.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a packet does not pass.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// What it is called in logs.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// The guest is cut from every network.
    Isolated = "isolated",
    /// Its descriptors are no chain in RAM, or end early.
    Descriptors = "descriptors",
    /// Longer than any frame, or than the MTU.
    Oversized = "oversized",
    /// It ends inside a header, or before its packet does.
    Truncated = "truncated",
    /// Bytes behind its packet.
    Trailer = "trailer",
    /// A VLAN tag.
    VlanTag = "vlan-tag",
    /// Neither ARP nor IP.
    EtherType = "ether-type",
    /// Malformed ARP.
    ArpMalformed = "arp-malformed",
    /// IP of no or another version, or with a wrong checksum.
    IpHeader = "ip-header",
    /// IPv4 options.
    IpOptions = "ip-options",
    /// A fragment.
    Fragment = "fragment",
    /// An extension header of IPv6, or an option in it.
    ExtensionHeader = "extension-header",
    /// Too many of them.
    ExtensionChain = "extension-chain",
    /// A transport header that contradicts itself.
    TransportHeader = "transport-header",
    /// An ICMP error that is too long.
    IcmpError = "icmp-error",
    /// Malformed neighbour discovery.
    NeighbourMalformed = "neighbour-malformed",
    /// Its virtio-net header asks for what is not so.
    VirtioHeader = "virtio-header",
    /// Its receiver takes no such work.
    Offload = "offload",
    /// Another's MAC.
    SpoofedMac = "spoofed-mac",
    /// Another's IP address.
    SpoofedAddress = "spoofed-address",
    /// ARP in another's name.
    SpoofedArp = "spoofed-arp",
    /// Neighbour discovery in another's name.
    SpoofedNeighbour = "spoofed-neighbour",
    /// A router's message.
    SpoofedRouter = "spoofed-router",
    /// A DHCP server's message.
    SpoofedDhcp = "spoofed-dhcp",
    /// For no station, or several.
    Nobody = "nobody",
    /// Not for this guest.
    Misdirected = "misdirected",
    /// So it was decided.
    Denied = "denied",
    /// Nobody decides now.
    Unavailable = "unavailable",
    /// Of no flow.
    NoFlow = "no-flow",
    /// TCP flags that mean nothing.
    TcpFlags = "tcp-flags",
    /// TCP without a handshake.
    TcpHandshake = "tcp-handshake",
    /// An echo's answer that nobody asked for.
    UnaskedEcho = "unasked-echo",
    /// Both sides differ on who began the connection.
    Beginner = "beginner",
    /// Too many flows.
    Flows = "flows",
    /// Too many half-open connections.
    HalfOpen = "half-open",
    /// Too many questions.
    Questions = "questions",
    /// Too many packets wait.
    Held = "held",
    /// A DNS answer while nobody can be told of it.
    NamesUnavailable = "names-unavailable",
    /// Too many DNS answers wait.
    NamesHeld = "names-held",
    /// A DNS answer that was not noted in time.
    NamesNotNoted = "names-not-noted",
    /// Its receiver is slow.
    InboxFull = "inbox-full",
    /// No gateway to what is outside.
    NoGateway = "no-gateway",
    /// Nobody outside has the address.
    NoNeighbour = "no-neighbour",
    /// Too many addresses outside are asked for.
    Neighbours = "neighbours",
    /// Too many packets wait for an address outside.
    NeighboursHeld = "neighbours-held",
    /// What let it pass does not hold any more.
    Overtaken = "overtaken",
    /// The uplink takes no frame.
    Uplink = "uplink",
    /// The guest's buffers do not take it.
    Buffers = "buffers",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How many packets of one port did not pass, by way and reason.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusals(BTreeMap<(Direction, Reason), u64>);

impl Refusals {
    /// Counts so many that go that way of a guest's, or of an uplink's, and logs it. A hostile guest can cause this at will: of each reason only the first is
    /// logged, and each time that there are twice as many.
    pub(super) fn count(
        &mut self,
        guest: impl fmt::Debug,
        way: Direction,
        refusal: &Refusal,
        packets: u64,
    ) {
        let reason = Reason::of(refusal);
        let counted = self.0.entry((way, reason)).or_default();
        let before = *counted;
        *counted = counted.saturating_add(packets);
        let refused = *counted;
        if before.checked_ilog2() != refused.checked_ilog2() {
            tracing::warn!(?guest, ?way, %reason, refused, error = %refusal, "a packet is refused");
        }
    }

    /// How many that go that way.
    #[must_use]
    pub fn of(&self, way: Direction, reason: Reason) -> u64 {
        self.0.get(&(way, reason)).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Direction, Reason, u64)> {
        let all = self.0.iter();
        all.map(|((way, reason), count)| (*way, *reason, *count))
    }
}

impl Reason {
    /// Of a refusal.
    #[must_use]
    pub const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Isolated => Self::Isolated,
            Refusal::Packet(error) => Self::of_packet(error),
            Refusal::Spoof(spoof) => match spoof {
                Spoof::Mac => Self::SpoofedMac,
                Spoof::Address => Self::SpoofedAddress,
                Spoof::Arp => Self::SpoofedArp,
                Spoof::Neighbour => Self::SpoofedNeighbour,
                Spoof::Router => Self::SpoofedRouter,
                Spoof::DhcpServer => Self::SpoofedDhcp,
            },
            Refusal::Flow(error) => Self::of_flow(error),
            Refusal::Names(error) => match error {
                NamesError::Unavailable => Self::NamesUnavailable,
                NamesError::TooManyHeld => Self::NamesHeld,
                NamesError::NotNoted => Self::NamesNotNoted,
            },
            Refusal::Nobody => Self::Nobody,
            Refusal::Misdirected => Self::Misdirected,
            Refusal::InboxFull => Self::InboxFull,
            Refusal::Overtaken => Self::Overtaken,
            Refusal::Outside(error) => match error {
                OutsideError::NoGateway => Self::NoGateway,
                OutsideError::NoNeighbour => Self::NoNeighbour,
                OutsideError::TooManyNeighbours => Self::Neighbours,
                OutsideError::TooManyWait => Self::NeighboursHeld,
                OutsideError::Overtaken => Self::Overtaken,
                OutsideError::Tap => Self::Uplink,
            },
            Refusal::Delivery(error) => match error {
                DeliverError::NoRoom | DeliverError::TooSmall | DeliverError::Pieces(_) => {
                    Self::Buffers
                }
            },
        }
    }

    const fn of_packet(error: &PacketError) -> Self {
        match error {
            PacketError::Pieces(_) => Self::Descriptors,
            PacketError::TooLong => Self::Oversized,
            PacketError::TooMuchWork => Self::Offload,
            PacketError::Header(HeaderError::TooLong) => Self::Oversized,
            PacketError::Header(_) => Self::VirtioHeader,
            PacketError::Frame(error) => match error {
                FrameError::Truncated | FrameError::Length => Self::Truncated,
                FrameError::Trailer => Self::Trailer,
                FrameError::Tagged => Self::VlanTag,
                FrameError::EtherType(_) => Self::EtherType,
                FrameError::Arp => Self::ArpMalformed,
                FrameError::Version(_) | FrameError::Checksum => Self::IpHeader,
                FrameError::Options => Self::IpOptions,
                FrameError::Fragment => Self::Fragment,
                FrameError::Extension(_) | FrameError::ExtensionOption(_) => Self::ExtensionHeader,
                FrameError::ExtensionChain => Self::ExtensionChain,
                FrameError::Transport(_) => Self::TransportHeader,
                FrameError::IcmpError => Self::IcmpError,
                FrameError::Neighbour => Self::NeighbourMalformed,
            },
        }
    }

    const fn of_flow(error: &FlowError) -> Self {
        match error {
            FlowError::Denied => Self::Denied,
            FlowError::Unavailable => Self::Unavailable,
            FlowError::NoFlow => Self::NoFlow,
            FlowError::Tcp(TcpError::Flags) => Self::TcpFlags,
            FlowError::Tcp(TcpError::Handshake) => Self::TcpHandshake,
            FlowError::Unasked => Self::UnaskedEcho,
            FlowError::Beginner => Self::Beginner,
            FlowError::TooManyFlows => Self::Flows,
            FlowError::TooManyHalfOpen => Self::HalfOpen,
            FlowError::TooManyQuestions => Self::Questions,
            FlowError::TooManyHeld => Self::Held,
        }
    }
}
