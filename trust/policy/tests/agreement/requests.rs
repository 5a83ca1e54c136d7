//! Requests over the same values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_policy::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::policies::{NAMES, PATHS, ROLES, labels};

const ADDRESSES: [&str; 9] = [
    "10.1.2.3",
    "10.1.0.1",
    "10.2.0.0",
    "11.0.0.0",
    "255.255.255.255",
    "fd00::1",
    "fe80::1",
    "::ffff:10.1.2.3",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// A request that owns what it speaks of.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    executable: Option<&'static str>,
    sha256: Option<[u8; 32]>,
    uid: Option<u32>,
    doing: Doing,
}

#[derive(Clone, Debug)]
enum Doing {
    Exec(&'static str, Option<[u8; 32]>),
    File(&'static str, Access),
    Network {
        direction: Direction,
        protocol: u8,
        address: IpAddr,
        port: Option<u16>,
        icmp_type: Option<u8>,
        guest: Option<Option<(&'static str, BTreeMap<String, String>)>>,
        names: Vec<&'static str>,
    },
    Syscall(u32, [u64; 6]),
}

impl Owned {
    pub(crate) fn with<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let process = Process {
            executable: self.executable,
            sha256: self.sha256.as_ref(),
            uid: self.uid,
        };
        let operation = match &self.doing {
            Doing::Exec(path, sha256) => Operation::Exec {
                path,
                sha256: sha256.as_ref(),
            },
            Doing::File(path, access) => Operation::File {
                path,
                access: *access,
            },
            Doing::Network {
                direction,
                protocol,
                address,
                port,
                icmp_type,
                guest,
                names,
            } => Operation::Network(Flow {
                direction: *direction,
                protocol: *protocol,
                address: *address,
                port: *port,
                icmp_type: *icmp_type,
                guest: guest.as_ref().map(|guest| {
                    guest
                        .as_ref()
                        .map(|(role, labels)| PeerGuest { role, labels })
                }),
                names,
            }),
            Doing::Syscall(number, arguments) => Operation::Syscall {
                number: *number,
                arguments: *arguments,
            },
        };
        then(&Request { process, operation })
    }
}

fn path() -> impl Strategy<Value = &'static str> {
    select(&PATHS[..])
}

fn digest() -> impl Strategy<Value = [u8; 32]> {
    (0..4_u8).prop_map(|byte| [byte; 32])
}

pub(crate) fn request() -> impl Strategy<Value = Owned> {
    let process = (of(path()), of(digest()), of(0..5_u32));
    (process, doing()).prop_map(|((executable, sha256, uid), doing)| Owned {
        executable,
        sha256,
        uid,
        doing,
    })
}

fn doing() -> impl Strategy<Value = Doing> {
    let exec = (path(), of(digest())).prop_map(|(path, sha256)| Doing::Exec(path, sha256));
    let access = select(&[Access::Read, Access::Write, Access::Create][..]);
    let file = (path(), access).prop_map(|(path, access)| Doing::File(path, access));
    let argument = prop_oneof![0..8_u64, Just(u64::MAX), Just(0xf0)];
    let syscall = (0..5_u32, prop::array::uniform6(argument))
        .prop_map(|(number, arguments)| Doing::Syscall(number, arguments));
    prop_oneof![exec, file, network(), syscall]
}

#[expect(clippy::unwrap_used, reason = "they are addresses")]
fn address() -> impl Strategy<Value = IpAddr> {
    select(&ADDRESSES[..]).prop_map(|address| address.parse().unwrap())
}

/// What is known of the other end.
#[derive(Clone, Debug)]
struct Known {
    guest: Option<Option<(&'static str, BTreeMap<String, String>)>>,
    names: Vec<&'static str>,
}

fn known() -> impl Strategy<Value = Known> {
    let guest = of(of((select(&ROLES[..]), labels())));
    (guest, vec(select(&NAMES[..]), 0..10)).prop_map(|(guest, names)| Known { guest, names })
}

/// Flows as packets show them: with a port or an ICMP type as their protocol has it, with a guest and names as their address has them,
/// and nothing known of a process.
pub(crate) fn flows() -> impl Strategy<Value = Vec<Owned>> {
    let flow = (
        select(&[Direction::Ingress, Direction::Egress][..]),
        select(&[6_u8, 17, 1, 47, 58][..]),
        0..ADDRESSES.len(),
        prop_oneof![0..7_u16, Just(u16::MAX)],
        0..5_u8,
    );
    let known = vec(known(), ADDRESSES.len());
    (known, vec(flow, 2..40)).prop_map(|(known, flows)| {
        let owned = |(direction, protocol, at, port, icmp_type): (_, u8, usize, _, _)| {
            let known: &Known = known.get(at)?;
            let doing = Doing::Network {
                direction,
                protocol,
                address: ADDRESSES.get(at)?.parse().ok()?,
                port: [6, 17].contains(&protocol).then_some(port),
                icmp_type: [1, 58].contains(&protocol).then_some(icmp_type),
                guest: known.guest.clone(),
                names: known.names.clone(),
            };
            Some(Owned {
                executable: None,
                sha256: None,
                uid: None,
                doing,
            })
        };
        flows.into_iter().filter_map(owned).collect()
    })
}

fn network() -> impl Strategy<Value = Doing> {
    let address = address();
    let port = prop_oneof![0..7_u16, Just(u16::MAX)];
    (
        select(&[Direction::Ingress, Direction::Egress][..]),
        select(&[6_u8, 17, 1, 47, 58][..]),
        address,
        of(port),
        of(0..5_u8),
        known(),
    )
        .prop_map(
            |(direction, protocol, address, port, icmp_type, known)| Doing::Network {
                direction,
                protocol,
                address,
                port,
                icmp_type,
                guest: known.guest,
                names: known.names,
            },
        )
}
