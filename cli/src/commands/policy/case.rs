//! Guests and requests as people write them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, bail};
use bartizan_policy::{
    Access, Call, Digest, Direction, Flow, Guest, Operation, PeerGuest, Process, Protocol, Request,
    Trust,
};
use serde::Deserialize;

/// A guest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuestCase {
    #[serde(default)]
    vm: Option<String>,
    role: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    trust: Option<Trust>,
}

impl GuestCase {
    pub(super) fn guest(&self) -> Result<Guest> {
        let vm = self
            .vm
            .as_deref()
            .unwrap_or("00000000-0000-0000-0000-000000000000");
        Ok(Guest {
            vm: vm.parse()?,
            role: self.role.clone(),
            labels: self.labels.clone(),
            trust: self.trust.unwrap_or(Trust::None),
        })
    }
}

/// A request: exactly one operation, and what is known of the process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestCase {
    #[serde(default)]
    process: ProcessCase,
    #[serde(default)]
    exec: Option<ExecCase>,
    #[serde(default)]
    file: Option<FileCase>,
    #[serde(default)]
    network: Option<FlowCase>,
    #[serde(default)]
    syscall: Option<CallCase>,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessCase {
    #[serde(default)]
    executable: Option<String>,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default)]
    uid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecCase {
    path: String,
    #[serde(default)]
    sha256: Option<Digest>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCase {
    path: String,
    access: Access,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowCase {
    direction: Direction,
    protocol: Protocol,
    address: IpAddr,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    icmp_type: Option<u8>,
    /// Left out, the other end is no guest of the fleet; `unknown`: whoever asks does not know.
    #[serde(default)]
    peer: Option<PeerCase>,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum PeerCase {
    Unknown(UnknownPeer),
    Guest(PeerGuestCase),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnknownPeer {
    Unknown,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerGuestCase {
    role: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallCase {
    call: Call,
    #[serde(default)]
    arguments: Vec<u64>,
}

impl RequestCase {
    /// Hands the request to whoever decides it.
    pub(super) fn with<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> Result<T> {
        let process = Process {
            executable: self.process.executable.as_deref(),
            sha256: self.process.sha256.as_ref().map(|digest| &digest.0),
            uid: self.process.uid,
        };
        let names: Vec<&str> = match &self.network {
            Some(flow) => flow.names.iter().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let operation = match (&self.exec, &self.file, &self.network, &self.syscall) {
            (Some(exec), None, None, None) => Operation::Exec {
                path: &exec.path,
                sha256: exec.sha256.as_ref().map(|digest| &digest.0),
            },
            (None, Some(file), None, None) => Operation::File {
                path: &file.path,
                access: file.access,
            },
            (None, None, Some(flow), None) => Operation::Network(Flow {
                direction: flow.direction,
                protocol: flow.protocol.number(),
                address: flow.address,
                port: flow.port,
                icmp_type: flow.icmp_type,
                guest: match &flow.peer {
                    None => Some(None),
                    Some(PeerCase::Unknown(UnknownPeer::Unknown)) => None,
                    Some(PeerCase::Guest(guest)) => Some(Some(PeerGuest {
                        role: &guest.role,
                        labels: &guest.labels,
                    })),
                },
                names: &names,
            }),
            (None, None, None, Some(call)) => Operation::Syscall {
                number: call.call.0,
                arguments: call.arguments()?,
            },
            _ => bail!("a request has exactly one of `exec`, `file`, `network`, `syscall`"),
        };
        Ok(then(&Request { process, operation }))
    }
}

impl CallCase {
    fn arguments(&self) -> Result<[u64; 6]> {
        let mut arguments = [0; 6];
        if self.arguments.len() > arguments.len() {
            bail!("a system call has six arguments at most");
        }
        for (to, from) in arguments.iter_mut().zip(&self.arguments) {
            *to = *from;
        }
        Ok(arguments)
    }
}
