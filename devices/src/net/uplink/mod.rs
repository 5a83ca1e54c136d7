//! A segment's uplink: one TAP device of the host, by which guests and what is outside of this host reach one another.
//!
//! ```text
//!  outside ── TAP ──► Packet::new ──► guard ──► Station of A: its inbox ──► Flows of A: may A be asked it?
//!             read once   parsed     may it say so?
//!  outside ◄── TAP ◄── Neighbours ◄── the outbox ◄── Flows of A: may A begin it?
//!                      whose is the next hop? does what let it pass still hold?
//! ```
//!
//! A thread of its own has the TAP device. To guests all that is outside is one station, [`GATE`]: whoever outside has an address,
//! its frames come from there, and guests' frames to it go there. So no guest learns an Ethernet address that somebody outside made
//! up, and what is counted by sender here counts the outside as one. Outside, guests are seen by their own Ethernet addresses.
//!
//! What comes from outside is judged as what another guest sends is: parsed by the same code, refused where it says what it is not
//! (`guard.rs`), and judged by the receiving guest's flows, whose peer is known by its address alone.
//!
//! Known attack: somebody outside takes a guest's address, so that other guests speak to him. Whose a guest's address is follows
//! from what was admitted, nothing that is told changes it, and nothing passes that comes from outside by such an address.

mod addresses;
mod core;
mod guard;
mod neighbours;
mod outbox;
mod outward;
mod serve;
mod settings;
mod tap;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_local::admission::{Interface, Ipv4};
use bartizan_local::flow::Direction;

use super::frame::{Frame, Mac};

pub use self::addresses::is_outside;
pub use self::core::Core;
use outbox::Outbox;
pub use serve::{UplinkError, serve};
pub use settings::{Settings, SettingsError};
pub use tap::Tap;

/// The station that all of outside is to guests: of no guest, locally administered.
pub const GATE: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// What a segment knows of its uplink.
#[derive(Debug)]
pub struct Uplink {
    /// How it is configured.
    pub settings: Settings,
    /// What guests send outside.
    pub(super) outbox: Outbox,
}

/// A packet does not pass the uplink.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum OutsideError {
    /// Its receiver is in another network, and there is no gateway.
    #[error("no gateway is configured for the receiver's address")]
    NoGateway,
    /// Nobody has told whose the address of the next hop is.
    #[error("nobody outside has the next hop's address")]
    NoNeighbour,
    /// Its sender's packets have as many addresses asked for as there may be.
    #[error("too many addresses outside are asked for by the sender's packets")]
    TooManyNeighbours,
    /// Its sender has as many packets that wait for such an answer as there may be.
    #[error("too many of the sender's packets wait for an address outside")]
    TooManyWait,
    /// What let it pass does not hold any more.
    #[error("what let the packet pass does not hold any more")]
    Overtaken,
    /// The TAP device takes no frame: it is down, or its queue is full.
    #[error("the TAP device does not take the frame")]
    Tap,
}

impl Uplink {
    /// Of a segment with these settings.
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        Ok(Self {
            settings,
            outbox: Outbox::new()?,
        })
    }

    /// A guest's interface, with the gateway that it is told of by DHCP where its launch record names none.
    pub(super) fn complete(&self, mut interface: Interface) -> Interface {
        if let (Some(own), Some(gateway)) = (&mut interface.ipv4, self.settings.gateway) {
            own.gateway = own.gateway.or(is_near(own, gateway).then_some(gateway));
        }
        interface
    }

    /// Whether a guest of that MAC and these addresses would be taken for what is outside.
    pub(super) fn has(&self, mac: Mac, addresses: &[IpAddr]) -> bool {
        let gateways = self.settings.gateways();
        let is_gateway = addresses.iter().any(|own| gateways.contains(&Some(*own)));
        mac == GATE || self.settings.gateway_mac == Some(mac) || is_gateway
    }
}

/// Whether the other end of a guest's frame that goes that way is outside: so says the station that it is to the guest, which nobody
/// else can be.
pub(super) fn is_peer_outside(frame: &Frame, way: Direction) -> bool {
    let peer = match way {
        Direction::Egress => frame.destination,
        Direction::Ingress => frame.source,
    };
    peer == GATE
}

/// Whether that is the address of all hosts of the guest's network, or of the network itself (RFC 919, RFC 3021).
fn is_broadcast(interface: &Interface, address: IpAddr) -> bool {
    let (Some(own), IpAddr::V4(address)) = (interface.ipv4, address) else {
        return false;
    };
    let hosts = !mask(own.prefix);
    let host = address.to_bits() & hosts;
    own.prefix < 31 && is_near(&own, address) && (host == 0 || host == hosts)
}

/// Whether an address is in a guest's own network.
fn is_near(own: &Ipv4, address: Ipv4Addr) -> bool {
    let mask = mask(own.prefix);
    own.address.to_bits() & mask == address.to_bits() & mask
}

/// Where a guest's packet to that address goes first.
fn next_hop(interface: &Interface, settings: &Settings, to: IpAddr) -> Option<IpAddr> {
    match to {
        IpAddr::V4(address) => {
            let own = interface.ipv4?;
            let gateway = own.gateway.map(IpAddr::V4);
            if is_near(&own, address) {
                Some(to)
            } else {
                gateway
            }
        }
        IpAddr::V6(address) => {
            let is_near = address.is_unicast_link_local()
                || interface.ipv6.is_some_and(|own| {
                    let mask = mask_v6(own.prefix);
                    own.address.to_bits() & mask == address.to_bits() & mask
                });
            let gateway = settings.gateway_v6.map(IpAddr::V6);
            if is_near { Some(to) } else { gateway }
        }
    }
}

fn mask(prefix: u8) -> u32 {
    let host = Ipv4Addr::BITS.saturating_sub(prefix.into());
    u32::MAX.checked_shl(host).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    let host = Ipv6Addr::BITS.saturating_sub(prefix.into());
    u128::MAX.checked_shl(host).unwrap_or(0)
}
