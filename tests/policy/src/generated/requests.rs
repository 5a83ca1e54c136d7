//! Requests that own what they speak of.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_policy::{Access, Direction, Flow, Operation, PeerGuest, Process, Request};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde::{Serialize, Serializer};

use super::policies::labels;
use super::words::{
    ADDRESSES, ARGUMENTS, CALLS, DIGESTS, NAMES, PATHS, PORTS, PROTOCOLS, ROLES, TYPES, UIDS,
};

/// A request. Written as JSON it is what `bartizan policy explain` reads, but for what is not known of the other end.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Owned {
    pub(super) process: OwnedProcess,
    #[serde(flatten)]
    pub(super) doing: Doing,
}

#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub(super) struct OwnedProcess {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) executable: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_hex")]
    pub(super) sha256: Option<[u8; 32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Doing {
    Exec {
        path: &'static str,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_hex")]
        sha256: Option<[u8; 32]>,
    },
    File {
        path: &'static str,
        access: Access,
    },
    Network(OwnedFlow),
    Syscall {
        call: u32,
        arguments: [u64; 6],
    },
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct OwnedFlow {
    pub(super) direction: Direction,
    pub(super) protocol: u8,
    pub(super) address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icmp_type: Option<u8>,
    #[serde(rename = "peer", serialize_with = "or_unknown")]
    pub(super) guest: Option<Option<OwnedGuest>>,
    pub(super) names: Vec<&'static str>,
}

/// The guest at the other end.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub(super) struct OwnedGuest {
    pub(super) role: &'static str,
    pub(super) labels: BTreeMap<String, String>,
}

impl Owned {
    /// Hands it to whoever decides it.
    pub fn with<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let process = Process {
            executable: self.process.executable,
            sha256: self.process.sha256.as_ref(),
            uid: self.process.uid,
        };
        let operation = match &self.doing {
            Doing::Exec { path, sha256 } => Operation::Exec {
                path,
                sha256: sha256.as_ref(),
            },
            Doing::File { path, access } => Operation::File {
                path,
                access: *access,
            },
            Doing::Network(flow) => Operation::Network(flow.shown()),
            Doing::Syscall { call, arguments } => Operation::Syscall {
                number: *call,
                arguments: *arguments,
            },
        };
        then(&Request { process, operation })
    }
}

impl OwnedFlow {
    fn shown(&self) -> Flow<'_> {
        Flow {
            direction: self.direction,
            protocol: self.protocol,
            address: self.address,
            port: self.port,
            icmp_type: self.icmp_type,
            guest: self
                .guest
                .as_ref()
                .map(|guest| guest.as_ref().map(OwnedGuest::shown)),
            names: &self.names,
        }
    }
}

impl OwnedGuest {
    fn shown(&self) -> PeerGuest<'_> {
        PeerGuest {
            role: self.role,
            labels: &self.labels,
        }
    }
}

/// A request of any kind, of which something may be unknown.
pub fn request() -> impl Strategy<Value = Owned> {
    (process(), doing()).prop_map(|(process, doing)| Owned { process, doing })
}

fn process() -> impl Strategy<Value = OwnedProcess> {
    (of(select(&PATHS[..])), of(digest()), of(select(&UIDS[..]))).prop_map(
        |(executable, sha256, uid)| OwnedProcess {
            executable,
            sha256,
            uid,
        },
    )
}

fn doing() -> impl Strategy<Value = Doing> {
    let path = || select(&PATHS[..]);
    let exec = (path(), of(digest())).prop_map(|(path, sha256)| Doing::Exec { path, sha256 });
    let access = select(&[Access::Read, Access::Write, Access::Create][..]);
    let file = (path(), access).prop_map(|(path, access)| Doing::File { path, access });
    let argument = near(select(&ARGUMENTS[..]), u64::wrapping_add, any::<u64>());
    let call = near(select(&CALLS[..]), u32::wrapping_add, any::<u32>());
    let syscall = (call, prop::array::uniform6(argument))
        .prop_map(|(call, arguments)| Doing::Syscall { call, arguments });
    prop_oneof![1 => exec, 1 => file, 2 => network().prop_map(Doing::Network), 1 => syscall]
}

fn network() -> impl Strategy<Value = OwnedFlow> {
    let protocol = prop_oneof![9 => select(&PROTOCOLS[..]), 1 => any::<u8>()];
    let known = (of(of(other_end())), names());
    (
        direction(),
        protocol,
        address(),
        of(port()),
        of(icmp_type()),
        known,
    )
        .prop_map(
            |(direction, protocol, address, port, icmp_type, (guest, names))| OwnedFlow {
                direction,
                protocol,
                address,
                port,
                icmp_type,
                guest,
                names,
            },
        )
}

pub(super) fn direction() -> impl Strategy<Value = Direction> {
    select(&[Direction::Ingress, Direction::Egress][..])
}

pub(super) fn address() -> impl Strategy<Value = IpAddr> {
    let some = prop_oneof![
        any::<u32>().prop_map(|number| IpAddr::V4(number.into())),
        any::<u128>().prop_map(|number| IpAddr::V6(number.into())),
    ];
    prop_oneof![15 => (0..ADDRESSES.len()).prop_map(known_address), 1 => some]
}

fn known_address(at: usize) -> IpAddr {
    let unspecified = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    ADDRESSES.get(at).copied().unwrap_or(unspecified)
}

pub(super) fn port() -> impl Strategy<Value = u16> {
    near(select(&PORTS[..]), u16::wrapping_add, any::<u16>())
}

pub(super) fn icmp_type() -> impl Strategy<Value = u8> {
    near(select(&TYPES[..]), u8::wrapping_add, any::<u8>())
}

pub(super) fn other_end() -> impl Strategy<Value = OwnedGuest> {
    (select(&ROLES[..]), labels()).prop_map(|(role, labels)| OwnedGuest { role, labels })
}

/// Now and then more than are looked at.
pub(super) fn names() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![
        3 => vec(select(&NAMES[..]), 0..4),
        1 => vec(select(&NAMES[..]), 4..10),
    ]
}

fn digest() -> impl Strategy<Value = [u8; 32]> {
    (0..=DIGESTS).prop_map(|byte| [byte; 32])
}

/// One of them, the one before or after it, or now and then any.
fn near<T>(
    one_of: impl Strategy<Value = T>,
    add: fn(T, T) -> T,
    any: impl Strategy<Value = T>,
) -> impl Strategy<Value = T>
where
    T: Copy + std::fmt::Debug + From<u8> + std::ops::Not<Output = T> + 'static,
{
    // All bits set is one less.
    let step = select(vec![T::from(0), T::from(0), T::from(1), !T::from(0)]);
    prop_oneof![15 => (one_of, step).prop_map(move |(one, step)| add(one, step)), 1 => any]
}

fn in_hex<S: Serializer>(digest: &Option<[u8; 32]>, to: S) -> Result<S::Ok, S::Error> {
    let digest = digest.unwrap_or_default();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    to.serialize_str(&hex)
}

fn or_unknown<S: Serializer>(guest: &Option<Option<OwnedGuest>>, to: S) -> Result<S::Ok, S::Error> {
    match guest {
        None => to.serialize_str("unknown"),
        Some(guest) => guest.serialize(to),
    }
}
