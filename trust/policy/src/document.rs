//! A policy as its author writes it.

mod action;
mod call;
mod cidr;
mod digest;
mod hosts;
mod integrity;
pub(crate) mod labels;
pub(crate) mod list;
pub(crate) mod name;
mod operation;
mod path;
mod range;
pub(crate) mod rule;
mod selection;
mod shown;
pub(crate) mod threshold;
mod values;

pub use action::Action;
pub use call::{Call, Index};
pub use cidr::Cidr;
pub use digest::Digest;
pub use hosts::Hosts;
pub use integrity::{IntegrityFile, IntegritySet};
pub use name::{MAX_NAME, NoName};
pub use operation::{
    Access, Argument, Direction, Exec, File, Network, Peer, Protocol, Subject, Syscall,
};
pub use path::PathPattern;
pub use range::Number;
pub use range::Range;
pub use selection::Selection;
pub use threshold::{Count, Threshold};
pub use values::MAX_VALUES;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use list::some;

/// What guests may do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Policy {
    /// Of the language: 1.
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    pub version: u32,
    /// Its name, one in a fleet: `web`, `team-a/web`.
    #[serde(deserialize_with = "name::policy")]
    #[cfg_attr(
        test,
        schemars(
            regex(pattern = "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"),
            length(max = 128)
        )
    )]
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
    /// What is done about what a rule denies that does not say so itself, and about what its `deny` of `defaults` denies.
    #[serde(default)]
    pub on_violation: Action,
    /// The DNS servers whose answers say which names an address has; needed by rules that name hosts.
    #[serde(
        default,
        deserialize_with = "some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub resolvers: Option<Vec<IpAddr>>,
    /// The rules, of all kinds.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How much of something there may be in a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
    /// Files that must be as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integrity: Vec<IntegritySet>,
}

/// Whether something may be done.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Effect {
    /// It may not.
    #[default]
    Deny,
    /// It may.
    Allow,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        })
    }
}

/// Whether a rule decides.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// What is done about what it denies; left out, as the policy says.
    pub on_violation: Option<Action>,
    /// The process; left out, any.
    pub subject: Subject,
    /// What is done.
    pub what: What,
}

impl Rule {
    /// Whether it is about hosts by their names.
    pub(crate) fn names_hosts(&self) -> bool {
        matches!(&self.what, What::Network(network) if network.peer.names.is_some())
    }
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
