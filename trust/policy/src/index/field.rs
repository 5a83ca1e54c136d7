//! What of a request rules look at.

use std::net::IpAddr;

use crate::document::{Access, Direction, Index};
use crate::request::{Flow, Operation, Request};

/// A field of a request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Field {
    /// The path of the process's executable.
    Executable,
    /// The SHA-256 of the process's executable.
    ExecutableSha256,
    /// The process's user.
    Uid,
    /// The path of the program that is executed.
    Program,
    /// The SHA-256 of the program that is executed.
    ProgramSha256,
    /// The path of the file that is opened.
    Path,
    /// What it is opened for.
    Access,
    /// Who begins the flow.
    Direction,
    /// Its protocol.
    Protocol,
    /// The other end's address.
    Address,
    /// The port of whoever did not begin it.
    Port,
    /// The ICMP message's type.
    IcmpType,
    /// The role of the guest at the other end.
    PeerRole,
    /// The value of a label of the guest at the other end.
    PeerLabel(Box<str>),
    /// The names of the other end.
    PeerNames,
    /// The system call.
    Call,
    /// An argument's bits under a mask.
    Argument(Index, u64),
}

/// A field that a decision depended on, and how far it may differ with the decision the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Depended {
    /// The field.
    pub field: Field,
    /// How far.
    pub extent: Extent,
}

/// How far a field may differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Not at all.
    Exactly,
    /// From one number to another, both in it; addresses as numbers of their family.
    Numbers {
        /// The first.
        first: u128,
        /// The last.
        last: u128,
    },
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Executable => "executable",
            Self::ExecutableSha256 => "executable's sha256",
            Self::Uid => "uid",
            Self::Program => "program",
            Self::ProgramSha256 => "program's sha256",
            Self::Path => "path",
            Self::Access => "access",
            Self::Direction => "direction",
            Self::Protocol => "protocol",
            Self::Address => "address",
            Self::Port => "port",
            Self::IcmpType => "icmp type",
            Self::PeerRole => "peer's role",
            Self::PeerLabel(key) => return write!(f, "peer's label {key}"),
            Self::PeerNames => "peer's names",
            Self::Call => "call",
            Self::Argument(index, mask) => {
                return write!(f, "argument {} & {mask:#x}", u8::from(*index));
            }
        };
        f.write_str(name)
    }
}

impl Depended {
    /// Whether another request has the same in this field, as far as it matters.
    #[must_use]
    pub fn is_same(&self, one: &Request<'_>, other: &Request<'_>) -> bool {
        let (one, other) = (self.field.of(one), self.field.of(other));
        match (self.extent, other) {
            (Extent::Numbers { first, last }, Value::Number(number)) => {
                (first..=last).contains(&number)
            }
            (Extent::Numbers { first, last }, Value::Address(address)) => {
                let (number, v4) = match address {
                    IpAddr::V4(address) => (u32::from(address).into(), true),
                    IpAddr::V6(address) => (u128::from(address), false),
                };
                let family = matches!(one, Value::Address(one) if one.is_ipv4() == v4);
                family && (first..=last).contains(&number)
            }
            (Extent::Exactly, other) => one == other,
            (Extent::Numbers { .. }, _) => false,
        }
    }
}

/// What a request has in a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'r> {
    Number(u128),
    Address(IpAddr),
    Path(&'r str),
    Word(&'r str),
    Digest(&'r [u8; 32]),
    Names(&'r [&'r str]),
    /// It has none.
    Nothing,
    /// Whoever asks does not know.
    Unknown,
}

impl Field {
    pub(crate) fn of<'r>(&self, request: &Request<'r>) -> Value<'r> {
        let process = &request.process;
        let known = |value: Option<Value<'r>>| value.unwrap_or(Value::Unknown);
        match (self, &request.operation) {
            (Self::Executable, _) => known(process.executable.map(Value::Path)),
            (Self::ExecutableSha256, _) => known(process.sha256.map(Value::Digest)),
            (Self::Uid, _) => known(process.uid.map(|uid| Value::Number(uid.into()))),
            (Self::Program, Operation::Exec { path, .. })
            | (Self::Path, Operation::File { path, .. }) => Value::Path(path),
            (Self::ProgramSha256, Operation::Exec { sha256, .. }) => {
                known(sha256.map(Value::Digest))
            }
            (Self::Access, Operation::File { access, .. }) => {
                Value::Number(number_of_access(*access))
            }
            (_, Operation::Network(flow)) => self.of_flow(flow),
            (Self::Call, Operation::Syscall { number, .. }) => Value::Number((*number).into()),
            (Self::Argument(index, mask), Operation::Syscall { arguments, .. }) => {
                Value::Number((index.of(arguments) & mask).into())
            }
            _ => Value::Nothing,
        }
    }

    fn of_flow<'r>(&self, flow: &Flow<'r>) -> Value<'r> {
        let number = |number: Option<u128>| number.map_or(Value::Nothing, Value::Number);
        match self {
            Self::Direction => Value::Number(number_of_direction(flow.direction)),
            Self::Protocol => Value::Number(flow.protocol.into()),
            Self::Address => Value::Address(flow.address),
            Self::Port => number(flow.port.map(u128::from)),
            Self::IcmpType => number(flow.icmp_type.map(u128::from)),
            Self::PeerNames => Value::Names(flow.names),
            Self::PeerRole | Self::PeerLabel(_) => match flow.guest {
                None => Value::Unknown,
                Some(None) => Value::Nothing,
                Some(Some(guest)) => match self {
                    Self::PeerLabel(key) => {
                        let value = guest.labels.get(key.as_ref());
                        value.map_or(Value::Nothing, |value| Value::Word(value))
                    }
                    _ => Value::Word(guest.role),
                },
            },
            _ => Value::Nothing,
        }
    }
}

pub(crate) const fn number_of_access(access: Access) -> u128 {
    access as u128
}

pub(crate) const fn number_of_direction(direction: Direction) -> u128 {
    direction as u128
}
