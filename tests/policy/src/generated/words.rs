//! The few words and numbers of which policies and requests are made.

use std::net::IpAddr;
use std::sync::LazyLock;

use bartizan_policy::Cidr;

/// Paths of requests: what a guest's kernel says is not always in its shortest form.
pub(super) const PATHS: [&str; 16] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/b/c/d",
    "/ab",
    "/a/",
    "/a/b/",
    "/a//b",
    "//",
    "/b/c/d/e",
    "/b/\u{e4}",
    "/a/..",
    "",
    "relative/a",
    "a",
];

/// Patterns of rules.
pub(super) const PATTERNS: [&str; 10] = [
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/**",
    "/a/b/**",
    "/**",
    "/b/c/d/e",
    "/b/\u{e4}",
    "/ab/**",
    "/b/**",
];

/// Names of requests, of which some are none.
pub(super) const NAMES: [&str; 10] = [
    "x.test",
    "a.x.test",
    "b.a.x.test",
    "y.test",
    "X.TEST",
    "x.test.",
    "",
    ".x.test",
    "test",
    "..",
];

/// Names of rules.
pub(super) const HOSTS: [&str; 6] = [
    "x.test",
    "*.x.test",
    "*.test",
    "y.test",
    "*.a.x.test",
    "test",
];

/// Networks of rules: one in another, side by side, the first and the last of a family.
pub(super) const NETWORKS: [&str; 18] = [
    "0.0.0.0/0",
    "0.0.0.0/8",
    "10.0.0.0/8",
    "10.0.0.0/9",
    "10.128.0.0/9",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3",
    "10.1.2.2/31",
    "255.255.255.255",
    "::/0",
    "::/128",
    "fd00::/8",
    "fd00:0:0:1::/64",
    "fd00::1",
    "fd00::/127",
    "fe80::/10",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// Addresses of requests: the first and the last of each network, those next to them, and IPv4 in IPv6's clothes.
pub(super) static ADDRESSES: LazyLock<Vec<IpAddr>> = LazyLock::new(|| {
    let networks = NETWORKS.iter().filter_map(|text| text.parse::<Cidr>().ok());
    let mut addresses: Vec<IpAddr> = networks.flat_map(|network| edges(&network)).collect();
    addresses.extend("::ffff:10.1.2.3".parse::<IpAddr>());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
});

fn edges(network: &Cidr) -> Vec<IpAddr> {
    let (first, last) = network.bounds();
    let before = first.checked_sub(1);
    let after = last.checked_add(1);
    let numbers = [before, Some(first), Some(last), after].into_iter();
    let address = |number: u128| match network.is_v4() {
        true => u32::try_from(number)
            .ok()
            .map(|number| IpAddr::V4(number.into())),
        false => Some(IpAddr::V6(number.into())),
    };
    numbers.flatten().filter_map(address).collect()
}

pub(super) const ROLES: [&str; 3] = ["web", "db", "other"];
pub(super) const KEYS: [&str; 2] = ["env", "zone"];
pub(super) const VALUES: [&str; 2] = ["one", "two"];

/// Ports: rules' ranges begin and end at them.
pub(super) const PORTS: [u16; 18] = [
    0,
    1,
    2,
    3,
    4,
    5,
    79,
    80,
    81,
    442,
    443,
    444,
    1023,
    1024,
    8000,
    8100,
    65_534,
    u16::MAX,
];

/// Types of ICMP messages.
pub(super) const TYPES: [u8; 10] = [0, 1, 3, 4, 8, 9, 128, 129, 254, u8::MAX];

/// Users.
pub(super) const UIDS: [u32; 9] = [0, 1, 2, 33, 34, 1000, 65_534, u32::MAX - 1, u32::MAX];

/// System calls, some of which there are none.
pub(super) const CALLS: [u32; 8] = [0, 1, 2, 59, 60, 321, 4000, u32::MAX];

/// Arguments, and what they are compared with.
pub(super) const ARGUMENTS: [u64; 18] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    0x0f,
    0x10,
    0xf0,
    0xff,
    u32::MAX as u64,
    1 << 32,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Bits of arguments that count.
pub(super) const MASKS: [u64; 8] = [u64::MAX, 0, 1, 2, 6, 0xf0, u32::MAX as u64, 1 << 63];

/// Protocols: TCP, UDP, ICMP, GRE, ICMPv6, none.
pub(super) const PROTOCOLS: [u8; 6] = [6, 17, 1, 47, 58, 255];

/// Of how many bytes digests are drawn, each of one byte over and over.
pub(super) const DIGESTS: u8 = 3;
