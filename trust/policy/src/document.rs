//! A policy as its author writes it.

mod call;
mod cidr;
mod digest;
mod hosts;
pub(crate) mod list;
pub(crate) mod name;
mod path;
mod range;
mod rule;
mod selection;

pub use call::{Call, Index};
pub use cidr::Cidr;
pub use digest::Digest;
pub use hosts::Hosts;
pub use name::{MAX_NAME, NoName};
pub use path::PathPattern;
pub(crate) use range::Number;
pub use range::Range;
pub use selection::Selection;

use serde::{Deserialize, Serialize};

use list::some;

/// What guests may do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Of the language: 1.
    pub version: u32,
    /// Its name, one in a fleet: `web`, `team-a/web`.
    #[serde(deserialize_with = "name::policy")]
    pub name: String,
    /// Goes up with each issue of it: an older one is refused.
    pub serial: u64,
    /// The guests that it is for; left out, all.
    #[serde(default)]
    pub select: Selection,
    /// What becomes of what no rule matches.
    #[serde(default)]
    pub defaults: Defaults,
    /// What becomes of what matches a rule that does not say so itself, while nobody can decide.
    #[serde(default)]
    pub on_unavailable: Effect,
    /// The rules, of all kinds.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Whether something may be done.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It may not.
    #[default]
    Deny,
    /// It may.
    Allow,
}

/// Whether a rule decides.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It is only told of.
    Audit,
}

/// A kind of operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A program is executed.
    Exec,
    /// A file is opened.
    File,
    /// A flow begins.
    Network,
    /// A system call is made.
    Syscall,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exec, Self::File, Self::Network, Self::Syscall];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::File => "file",
            Self::Network => "network",
            Self::Syscall => "syscall",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of what no rule matches, by kind; left out, it is left to the other policies of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Effect>,
    /// Files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Effect>,
    /// Flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Effect>,
    /// System calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscall: Option<Effect>,
}

impl Defaults {
    /// Of one kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> Option<Effect> {
        match kind {
            Kind::Exec => self.exec,
            Kind::File => self.file,
            Kind::Network => self.network,
            Kind::Syscall => self.syscall,
        }
    }
}

/// A rule: whom and what it is about, and whether that may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "rule::Written", into = "rule::Written")]
pub struct Rule {
    /// Its name, one in its policy.
    pub name: String,
    /// What becomes of what it matches.
    pub effect: Effect,
    /// Whether it decides.
    pub mode: Mode,
    /// The higher comes first.
    pub priority: i32,
    /// What becomes of what it matches while nobody can decide; left out, as the policy says.
    pub on_unavailable: Option<Effect>,
    /// The process; left out, any.
    pub subject: Subject,
    /// What is done.
    pub what: What,
}

/// What a rule is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A program is executed.
    Exec(Exec),
    /// A file is opened.
    File(File),
    /// A flow begins.
    Network(Network),
    /// A system call is made.
    Syscall(Syscall),
}

impl What {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Exec(_) => Kind::Exec,
            Self::File(_) => Kind::File,
            Self::Network(_) => Kind::Network,
            Self::Syscall(_) => Kind::Syscall,
        }
    }
}

/// Processes.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Paths of executables.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub executables: Option<Vec<PathPattern>>,
    /// SHA-256 of executables.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub sha256: Option<Vec<Digest>>,
    /// Effective user IDs.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub uids: Option<Vec<Range<u32>>>,
}

/// Programs.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Their paths.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub paths: Option<Vec<PathPattern>>,
    /// Their SHA-256.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub sha256: Option<Vec<Digest>>,
}

/// Files that are opened.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Their paths.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub paths: Option<Vec<PathPattern>>,
    /// For what.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub access: Option<Vec<Access>>,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub ports: Option<Vec<Range<u16>>>,
    /// Types of ICMP messages.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub icmp_types: Option<Vec<Range<u8>>>,
}

/// Who begins a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The other end.
    Ingress,
    /// The guest.
    Egress,
}

/// A protocol above IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
pub struct Peer {
    /// Its address.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub addresses: Option<Vec<Cidr>>,
    /// It is a guest with one of these roles.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub roles: Option<Vec<String>>,
    /// It is a guest with all of these labels.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// A trusted resolver has given its address to the guest under one of these names.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub names: Option<Vec<Hosts>>,
}

/// System calls.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syscall {
    /// Which; left out, any.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    pub calls: Option<Vec<Call>>,
    /// What must hold of the arguments: all of it.
    #[serde(default)]
    pub arguments: Vec<Argument>,
}

/// What must hold of one argument.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// Which, from 0 to 5.
    pub index: Index,
    /// The bits that count; left out, all.
    #[serde(default = "Argument::all")]
    pub mask: u64,
    /// These bits are one of these.
    #[serde(deserialize_with = "list::one_at_least")]
    pub values: Vec<Range<u64>>,
}

impl Argument {
    const fn all() -> u64 {
        u64::MAX
    }
}
