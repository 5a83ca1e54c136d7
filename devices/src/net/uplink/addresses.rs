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
/// Likewise: AWS, Google Cloud, Oracle Cloud, Alibaba Cloud, Linode, Scaleway, OpenStack.
const METADATA_V6: [Ipv6Addr; 7] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
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
                // What translators of one network take for which address (RFC 8215) is theirs to say.
                && address.segments().get(..3) != Some(&[0x64, 0xff9b, 1])
                && translated(address).is_none_or(is_outside_v4)
        }
    }
}

fn is_outside_v4(address: Ipv4Addr) -> bool {
    // 0/8, loopback, link-local (RFC 3927), multicast, reserved, broadcast.
    let is_none = matches!(address.octets(), [0 | 127 | 224.., ..] | [169, 254, ..]);
    !is_none && !METADATA_V4.contains(&address)
}

/// The address of IPv4 that somebody outside would take that one for: a translator, by the prefix that all may have (RFC 6052 section
/// 2.1), or a relay of 6to4 (RFC 3056 section 2).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let bits = u32::from(high) << 16 | u32::from(low);
            Some(Ipv4Addr::from_bits(bits))
        }
        _ => None,
    }
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
            "64:ff9b:1:a9fe:a9:fe00:101:101",
            "64:ff9b:1::192.0.2.1",
            "2002:a9fe:a9fe::1",
            "fd00:c1::a9fe:a9fe",
            "fd00:100::100:200",
            "fd00:a9fe:a9fe::1",
            "fd00:42::42",
            "fe80::a9fe:a9fe",
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
            "2002:c000:201::1",
        ] {
            assert!(is_outside(address.parse().unwrap()), "{address}");
        }
    }
}
