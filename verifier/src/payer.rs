//! Who pays for what a client uses: shares of connections and memory are kept by payer.

use std::net::{IpAddr, Ipv6Addr};

use bartizan_attestation::identity::CardId;

use crate::peer::Peer;

/// One who has shares. A certificate names its holder wherever they connect from; a stranger is known
/// by the network that they come from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Payer {
    /// A host.
    Host(CardId),
    /// An operator.
    Operator(String),
    /// A stranger: an IPv4 address, or the first half of an IPv6 address, since whoever has a subnet
    /// has all of the 2^64 addresses in it (RFC 4291 section 2.5.4).
    Network(IpAddr),
}

impl Payer {
    /// Who pays for a connection whose client is not known yet.
    #[must_use]
    pub fn network(address: IpAddr) -> Self {
        Self::Network(network(address))
    }

    /// Who pays for what a client asks for.
    #[must_use]
    pub fn of(peer: &Peer, address: IpAddr) -> Self {
        match peer {
            // An enclave has its certificate from its host's card.
            Peer::Host { card, .. } | Peer::Enclave { card, .. } => Self::Host(*card),
            Peer::Operator { name, .. } => Self::Operator(name.clone()),
            Peer::Anonymous => Self::network(address),
        }
    }

    /// Whether it is one without a certificate.
    #[must_use]
    pub const fn is_stranger(&self) -> bool {
        matches!(self, Self::Network(_))
    }
}

/// The network that an address is of: itself, or the first half of an IPv6 address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let subnet = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(subnet))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Payer;

    #[test]
    fn a_stranger_is_one_however_many_addresses_it_has() {
        let network = |text: &str| Payer::network(text.parse().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:2:3:4:5"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
    }
}
