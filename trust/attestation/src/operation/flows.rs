//! Which of a guest's flows an operator wants to see, and how much of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use minicbor::{Decode, Encode};

/// Most seconds of a watch or a capture.
pub const MAX_SECONDS: u32 = 3600;

/// Most bytes of one packet that are captured: an Ethernet header, and a largest IP packet.
pub const MAX_SNAP: u32 = 14 + 0xffff;

/// Flows: all that is given must hold.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FlowFilter {
    /// The protocol's number (IANA).
    #[n(0)]
    pub protocol: Option<u8>,
    /// The address of either end is in it.
    #[n(1)]
    pub network: Option<Network>,
    /// The port of either end, the first and the last.
    #[n(2)]
    pub ports: Option<(u16, u16)>,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Network {
    /// One of them.
    #[n(0)]
    pub address: IpAddr,
    /// In how many bits, 0 to 32, or 0 to 128 of IPv6.
    #[n(1)]
    pub prefix: u8,
}

/// A text that is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no address and no network; write 10.0.0.7, 10.0.0.0/24 or fd00::/8")]
pub struct NetworkError(String);

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

impl FlowFilter {
    /// Whether its network can be one.
    pub(super) fn fits(&self) -> bool {
        self.network.is_none_or(|network| network.fits())
    }

    /// As the log has it.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        let protocol = self.protocol.map(|number| number.to_string());
        let network = self.network.map(|network| network.to_string());
        let ports = self.ports.map(|(first, last)| format!("{first}-{last}"));
        let named = [
            ("protocol", protocol),
            ("network", network),
            ("ports", ports),
        ];
        named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

impl CaptureLimits {
    /// Whether each is within its bounds.
    pub(super) fn fit(&self) -> bool {
        seconds_fit(self.seconds)
            && (1..=MAX_SNAP).contains(&self.snap)
            && self.packets > 0
            && self.bytes > 0
    }

    /// As the log has them.
    pub(super) fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("packets", self.packets.to_string()),
            ("bytes", self.bytes.to_string()),
            ("snap", self.snap.to_string()),
            ("seconds", self.seconds.to_string()),
        ]
    }
}

pub(super) fn seconds_fit(seconds: u32) -> bool {
    (1..=MAX_SECONDS).contains(&seconds)
}

impl Network {
    fn fits(self) -> bool {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        self.prefix <= most
    }

    /// Its first and its last address.
    #[must_use]
    pub fn range(&self) -> (IpAddr, IpAddr) {
        match self.address {
            IpAddr::V4(address) => {
                let others = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let first = address.to_bits() & !others;
                (
                    Ipv4Addr::from(first).into(),
                    Ipv4Addr::from(first | others).into(),
                )
            }
            IpAddr::V6(address) => {
                let others = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let first = address.to_bits() & !others;
                (
                    Ipv6Addr::from(first).into(),
                    Ipv6Addr::from(first | others).into(),
                )
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NetworkError(text.chars().take(63).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| refused())?,
            None => whole,
        };
        let network = Self { address, prefix };
        network.fits().then_some(network).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_is_read_and_has_its_addresses() {
        for (text, first, last) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.7"),
            ("10.0.0.7/24", "10.0.0.0", "10.0.0.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            (
                "fd00::/8",
                "fd00::",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
            ("::1", "::1", "::1"),
        ] {
            let network: Network = text.parse().unwrap();
            let range: (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(network.range(), range, "{text}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        for text in [
            "",
            "10.0.0.7/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.7/",
            "web",
            "10.0.0.7/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError(text.into())));
        }
    }

    proptest! {
        #[test]
        fn a_network_has_the_address_that_it_names(address in any::<u128>(), v4 in any::<u32>(), prefix in 0..=128_u8) {
            let of = |address: IpAddr, prefix| {
                let (first, last) = Network { address, prefix }.range();
                first <= address && address <= last
            };
            prop_assert!(of(Ipv6Addr::from(address).into(), prefix));
            prop_assert!(of(Ipv4Addr::from(v4).into(), prefix));
        }
    }
}
