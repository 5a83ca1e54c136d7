//! What a guest is on its network's segment, which no other guest of this host may be meanwhile.

use std::net::{Ipv4Addr, Ipv6Addr};

use bartizan_attestation::launch::{Mac, Network};
use uuid::Uuid;

/// A guest's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    segment: String,
    mac: Mac,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

impl Claim {
    /// Of a VM with that network device, if it has one.
    pub(super) fn of(vm: Uuid, network: Option<&Network>) -> Option<Self> {
        network.map(|network| Self {
            segment: network.segment.clone(),
            mac: network.mac(vm),
            ipv4: network.ipv4.map(|ip| ip.address),
            ipv6: network.ipv6.map(|ip| ip.address),
        })
    }

    /// Whether both cannot be.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        let same_v4 = self.ipv4.is_some() && self.ipv4 == other.ipv4;
        let same_v6 = self.ipv6.is_some() && self.ipv6 == other.ipv6;
        self.segment == other.segment && (self.mac == other.mac || same_v4 || same_v6)
    }
}
