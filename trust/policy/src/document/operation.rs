//! What rules are about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list::{one_at_least, some};
use super::{Call, Cidr, Digest, Hosts, Index, PathPattern, Range, labels};

/// Processes.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subject {
    /// Paths of executables.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub executables: Option<Vec<PathPattern>>,
    /// SHA-256 of executables.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub sha256: Option<Vec<Digest>>,
    /// Effective user IDs.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub uids: Option<Vec<Range<u32>>>,
}

/// Programs.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exec {
    /// Their paths.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub paths: Option<Vec<PathPattern>>,
    /// Their SHA-256.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub sha256: Option<Vec<Digest>>,
}

/// Files that are opened.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct File {
    /// Their paths.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub paths: Option<Vec<PathPattern>>,
    /// For what.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub access: Option<Vec<Access>>,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Access {
    /// To be read.
    Read,
    /// To be written, or appended to.
    Write,
    /// To be made.
    Create,
}

/// Flows.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Network {
    /// Who begins them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Their protocols.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub protocols: Option<Vec<Protocol>>,
    /// The other end.
    #[serde(default)]
    pub peer: Peer,
    /// Ports of whoever did not begin them.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub ports: Option<Vec<Range<u16>>>,
    /// Types of ICMP messages.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub icmp_types: Option<Vec<Range<u8>>>,
}

/// Who begins a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Direction {
    /// The other end.
    Ingress,
    /// The guest.
    Egress,
}

/// A protocol above IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Protocol {
    /// 1.
    Icmp,
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 58.
    Icmpv6,
    /// 132.
    Sctp,
    /// Any, by its number (IANA).
    #[serde(untagged)]
    Number(u8),
}

impl Protocol {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
            Self::Number(number) => number,
        }
    }
}

/// The other end of a flow: all that is given must hold.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Peer {
    /// Its address.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub addresses: Option<Vec<Cidr>>,
    /// It is a guest with one of these roles.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub roles: Option<Vec<String>>,
    /// It is a guest with all of these labels.
    #[serde(
        default,
        deserialize_with = "labels::each_once",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// A trusted resolver has given its address to the guest under one of these names.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub names: Option<Vec<Hosts>>,
}

/// System calls.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Syscall {
    /// Which; left out, any.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub calls: Option<Vec<Call>>,
    /// What must hold of the arguments: all of it.
    #[serde(default)]
    pub arguments: Vec<Argument>,
}

/// What must hold of one argument.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Argument {
    /// Which, from 0 to 5.
    pub index: Index,
    /// The bits that count; left out, all.
    #[serde(default = "Argument::all")]
    pub mask: u64,
    /// These bits are one of these.
    #[serde(deserialize_with = "one_at_least")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub values: Vec<Range<u64>>,
}

impl Argument {
    const fn all() -> u64 {
        u64::MAX
    }
}
