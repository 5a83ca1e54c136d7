//! A guest's network device.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::fields;
use crate::digest::hash;
use crate::measurement::HashAlgorithm;

/// A network device: what the guest is on its segment, and all that it may say it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The segment that it is on, with other guests of the host: 1 to 63 of `a-z`, `0-9`, `-`.
    #[serde(deserialize_with = "fields::name")]
    pub segment: String,
    /// Its Ethernet address, `02:00:00:00:00:05`; left out, one that follows from the VM's UUID.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Its IPv4 address with its network's prefix, `10.77.0.5/24`; left out, it has none.
    #[serde(default)]
    pub ipv4: Option<Address<Ipv4Addr>>,
    /// Its IPv6 address with its network's prefix, `fd77::5/64`; left out, it has the link-local one alone.
    #[serde(default)]
    pub ipv6: Option<Address<Ipv6Addr>>,
    /// Where IPv4 packets to other networks go: an address of its network.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// Longest IP packet in bytes, 1280 to 65535.
    #[serde(default = "default_mtu", deserialize_with = "fields::mtu")]
    pub mtu: u16,
}

fn default_mtu() -> u16 {
    1500
}

/// A network device cannot be so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// The MAC is of several stations, or of none.
    #[error(
        "`mac` is not the address of one station; leave it out, or choose one like 02:00:00:00:00:05"
    )]
    Mac,
    /// The IPv4 address is of no one host, or its network's own or broadcast address.
    #[error("`ipv4` is not the address of one host of its network")]
    Ipv4,
    /// The IPv6 address is of no one host.
    #[error("`ipv6` is not a unicast address beyond the link")]
    Ipv6,
    /// The gateway is not another host of the network.
    #[error("`gateway` is not another host of `ipv4`'s network")]
    Gateway,
}

/// An Ethernet address, in text six pairs of hexadecimal digits with colons between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

/// An address with the length of its network's prefix in bits, in text with a slash between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address<T> {
    /// The address.
    pub address: T,
    /// The prefix.
    pub prefix: u8,
}

impl Network {
    /// Its Ethernet address, for the VM `vm`.
    #[must_use]
    pub fn mac(&self, vm: Uuid) -> Mac {
        self.mac.unwrap_or_else(|| Mac::of(vm))
    }

    pub(super) fn check(&self) -> Result<(), NetworkError> {
        if self
            .mac
            .is_some_and(|Mac(bytes)| bytes[0] & 1 != 0 || bytes == [0; 6])
        {
            return Err(NetworkError::Mac);
        }
        if self.ipv4.is_some_and(|ip| !is_host(ip)) {
            return Err(NetworkError::Ipv4);
        }
        if self.ipv6.is_some_and(|ip| !is_global(ip)) {
            return Err(NetworkError::Ipv6);
        }
        match (self.gateway, self.ipv4) {
            (None, _) => Ok(()),
            (Some(gateway), Some(own)) if is_neighbour(gateway, own) => Ok(()),
            (Some(_), _) => Err(NetworkError::Gateway),
        }
    }
}

impl Mac {
    /// One that follows from a VM's UUID: of one station, locally administered (IEEE 802, section 8.4).
    #[must_use]
    pub fn of(vm: Uuid) -> Self {
        let digest = hash(HashAlgorithm::Sha384, vm.as_bytes()).0;
        let mut bytes = [0; 6];
        for (byte, from) in bytes.iter_mut().zip(digest) {
            *byte = from;
        }
        bytes[0] = bytes[0] & 0xfc | 2;
        Self(bytes)
    }
}

/// Of networks of two hosts or one (RFC 3021) every address is a host's.
fn is_host(Address { address, prefix }: Address<Ipv4Addr>) -> bool {
    let host = !mask(prefix);
    let of_host = address.to_bits() & host;
    let is_plain = host <= 1 || (of_host != 0 && of_host != host);
    is_plain
        && !address.is_unspecified()
        && !address.is_broadcast()
        && !address.is_multicast()
        && !address.is_loopback()
        && !address.is_link_local()
}

/// The link-local ones follow from the MAC.
fn is_global(Address { address, prefix }: Address<Ipv6Addr>) -> bool {
    prefix >= 1
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_unicast_link_local()
        && address.to_ipv4_mapped().is_none()
}

fn is_neighbour(gateway: Ipv4Addr, own: Address<Ipv4Addr>) -> bool {
    let mask = mask(own.prefix);
    let prefix = own.prefix;
    let host = Address {
        address: gateway,
        prefix,
    };
    gateway != own.address
        && gateway.to_bits() & mask == own.address.to_bits() & mask
        && is_host(host)
}

fn mask(prefix: u8) -> u32 {
    let zeros = 32_u32.saturating_sub(prefix.into());
    u32::MAX.checked_shl(zeros).unwrap_or(0)
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = &'static str;

    /// In one way only: two digits each, lower case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a MAC like 02:00:00:00:00:05, in lower case";
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(EXPECTED)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| EXPECTED)?;
        }
        let mac = Self(bytes);
        if parts.next().is_none() && mac.to_string() == text {
            Ok(mac)
        } else {
            Err(EXPECTED)
        }
    }
}

impl<T: fmt::Display> fmt::Display for Address<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How an IP address is written, and how long a prefix can be.
trait Family: FromStr + fmt::Display {
    const BITS: u8;
    const EXPECTED: &'static str;
}

impl Family for Ipv4Addr {
    const BITS: u8 = 32;
    const EXPECTED: &'static str = "expected an IPv4 address with its prefix, like 10.77.0.5/24";
}

impl Family for Ipv6Addr {
    const BITS: u8 = 128;
    const EXPECTED: &'static str = "expected an IPv6 address with its prefix, like fd77::5/64";
}

impl<T: Family> FromStr for Address<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(T::EXPECTED)?;
        let parsed = Self {
            address: address.parse().map_err(|_| T::EXPECTED)?,
            prefix: prefix.parse().map_err(|_| T::EXPECTED)?,
        };
        if parsed.prefix <= T::BITS && parsed.to_string() == text {
            Ok(parsed)
        } else {
            Err(T::EXPECTED)
        }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl<T: fmt::Display> Serialize for Address<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address<Ipv4Addr> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Address<Ipv6Addr> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> Network {
        Network {
            segment: "front".into(),
            mac: None,
            ipv4: Some("10.77.0.5/24".parse().unwrap()),
            ipv6: Some("fd77::5/64".parse().unwrap()),
            gateway: Some(Ipv4Addr::new(10, 77, 0, 1)),
            mtu: 1500,
        }
    }

    #[test]
    fn what_is_no_one_hosts_is_refused() {
        assert_eq!(network().check(), Ok(()));
        for (mac, fits) in [
            ("01:00:00:00:00:05", false),
            ("00:00:00:00:00:00", false),
            ("02:00:00:00:00:05", true),
        ] {
            let mac = Some(mac.parse().unwrap());
            assert_eq!(
                Network { mac, ..network() }.check().is_ok(),
                fits,
                "{mac:?}"
            );
        }
        for ipv4 in [
            "10.77.0.0/24",
            "10.77.0.255/24",
            "0.0.0.0/0",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "169.254.1.1/16",
        ] {
            let ipv4 = Some(ipv4.parse().unwrap());
            assert_eq!(
                Network { ipv4, ..network() }.check(),
                Err(NetworkError::Ipv4),
                "{ipv4:?}"
            );
        }
        for ipv6 in [
            "::/64",
            "::1/128",
            "ff02::1/64",
            "fe80::1/64",
            "::ffff:10.0.0.1/96",
        ] {
            let ipv6 = Some(ipv6.parse().unwrap());
            assert_eq!(
                Network { ipv6, ..network() }.check(),
                Err(NetworkError::Ipv6),
                "{ipv6:?}"
            );
        }
        for gateway in [
            [10, 77, 0, 5],
            [10, 77, 1, 1],
            [10, 77, 0, 0],
            [10, 77, 0, 255],
        ] {
            let gateway = Some(gateway.into());
            assert_eq!(
                Network {
                    gateway,
                    ..network()
                }
                .check(),
                Err(NetworkError::Gateway)
            );
        }
        let none = Network {
            ipv4: None,
            ..network()
        };
        assert_eq!(none.check(), Err(NetworkError::Gateway));
    }

    #[test]
    fn the_mac_of_a_vm_is_its_own_and_locally_administered() {
        let (one, other) = (Mac::of(Uuid::from_u128(1)), Mac::of(Uuid::from_u128(2)));
        assert!(one != other && one.0[0] & 3 == 2 && other.0[0] & 3 == 2);
        assert_eq!(network().mac(Uuid::from_u128(1)), one);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_is_read_in_two_ways(mac: [u8; 6], v4: [u8; 4], v6: [u8; 16], prefix: u8, text: String) {
            let mac = Mac(mac);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            let v4 = Address { address: Ipv4Addr::from(v4), prefix };
            prop_assert_eq!(v4.to_string().parse().ok(), (prefix <= 32).then_some(v4));
            let v6 = Address { address: Ipv6Addr::from(v6), prefix };
            prop_assert_eq!(v6.to_string().parse().ok(), (prefix <= 128).then_some(v6));
            if let Ok(mac) = text.parse::<Mac>() {
                prop_assert_eq!(mac.to_string(), text);
            }
        }

        #[test]
        fn whatever_a_record_says_is_accepted_or_refused(v4: [u8; 4], v6: [u8; 16], prefixes: (u8, u8), gateway: [u8; 4]) {
            let network = Network {
                ipv4: Some(Address { address: v4.into(), prefix: prefixes.0 % 33 }),
                ipv6: Some(Address { address: v6.into(), prefix: prefixes.1 % 129 }),
                gateway: Some(gateway.into()),
                ..network()
            };
            let _ = network.check();
        }
    }
}
