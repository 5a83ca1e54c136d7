//! The addresses that somebody outside may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell the machines that they host who these are, and give them their keys.
///
/// Known attack: a guest asks there, and is taken for its host.
const METADATA_V4: [Ipv4Addr; 3] = [
    // Azure, Alibaba Cloud, Oracle Cloud. That of most others is link-local.
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// Likewise: AWS, Google Cloud.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Whether somebody outside may have that address: it is of one host, and of no host's own.
#[must_use]
pub fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_outside_v4(address),
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_multicast()
                && address.to_ipv4_mapped().is_none()
                && !METADATA_V6.contains(&address)
                && translated(address).is_none_or(is_outside_v4)
        }
    }
}

fn is_outside_v4(address: Ipv4Addr) -> bool {
    // 0/8, loopback, link-local (RFC 3927), multicast, reserved, broadcast.
    let is_none = matches!(address.octets(), [0 | 127 | 224.., ..] | [169, 254, ..]);
    !is_none && !METADATA_V4.contains(&address)
}

/// The address of IPv4 that a translator outside would take that one for, by the prefix that all translators may have (RFC 6052 section
/// 2.1), or one that is for translators of the same network (RFC 8215), of 96 bits.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let [first, second, third, ..] = address.segments();
    let is_translated =
        bits >> 32 == 0x0064_ff9b << 64 || [first, second, third] == [0x64, 0xff9b, 1];
    let low = u32::try_from(bits & u128::from(u32::MAX)).ok()?;
    is_translated.then(|| Ipv4Addr::from_bits(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_no_one_host_and_of_hosts_own_are_not_outside() {
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "::",
            "::1",
            "ff02::1",
            "::ffff:192.0.2.1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::168.63.129.16",
        ] {
            assert!(!is_outside(address.parse().unwrap()), "{address}");
        }
        for address in [
            "192.0.2.1",
            "10.0.0.1",
            "168.63.129.17",
            "2001:db8::1",
            "fe80::1",
            "fd00:ec2::253",
            "64:ff9b::192.0.2.1",
            "64:ff9b:2::169.254.169.254",
        ] {
            assert!(is_outside(address.parse().unwrap()), "{address}");
        }
    }
}
