//! What somebody in a guest, or at the other end of a flow, is about to do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::document::{Access, Direction, Kind};

/// One thing that is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The process that does it.
    pub process: Process<'r>,
    /// What it does.
    pub operation: Operation<'r>,
}

/// Names of one address that are looked at; those of an address that has more are not known.
pub const MAX_NAMES: usize = 8;

/// Something that whoever asks may not know.
pub type Known<T> = Option<T>;

/// A process of a guest, as far as it is known.
#[derive(Clone, Copy, Default, Debug)]
pub struct Process<'r> {
    /// Absolute path of its executable.
    pub executable: Known<&'r str>,
    /// SHA-256 of its executable.
    pub sha256: Known<&'r [u8; 32]>,
    /// Its effective user ID.
    pub uid: Known<u32>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'r> {
    /// execve(2).
    Exec {
        /// Absolute path of the program.
        path: &'r str,
        /// SHA-256 of the program.
        sha256: Known<&'r [u8; 32]>,
    },
    /// A file is opened: one request for each kind of access.
    File {
        /// Absolute path.
        path: &'r str,
        /// For what.
        access: Access,
    },
    /// The first packet of a flow.
    Network(Flow<'r>),
    /// A system call.
    Syscall {
        /// Its number on x86-64.
        number: u32,
        /// Its arguments.
        arguments: [u64; 6],
    },
}

/// A flow, seen from the guest.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'r> {
    /// Who begins it: egress is begun by the guest.
    pub direction: Direction,
    /// The protocol's number (IANA): that of the last header of IPv6.
    pub protocol: u8,
    /// The other end.
    pub address: IpAddr,
    /// The port of whoever did not begin it; none where the protocol has none.
    pub port: Option<u16>,
    /// The type of an ICMP message; none where it is no ICMP.
    pub icmp_type: Option<u8>,
    /// The guest of the fleet that the other end is; none where it is none.
    pub guest: Known<Option<PeerGuest<'r>>>,
    /// The names under which trusted resolvers have given this address to the guest.
    pub names: &'r [&'r str],
}

/// A guest at the other end.
#[derive(Clone, Copy, Debug)]
pub struct PeerGuest<'r> {
    /// Its role.
    pub role: &'r str,
    /// Its labels.
    pub labels: &'r BTreeMap<String, String>,
}

impl Operation<'_> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Exec { .. } => Kind::Exec,
            Self::File { .. } => Kind::File,
            Self::Network(_) => Kind::Network,
            Self::Syscall { .. } => Kind::Syscall,
        }
    }
}
