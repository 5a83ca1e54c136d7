//! What a supervisor is started with: JSON that the daemon writes to its standard input. No file, which another
//! supervisor might change. The input stays open: the daemon has more to say (see [`super::launcher`]).

use std::io::Read;
use std::path::PathBuf;

use bartizan_attestation::identity::GuestIdentity;
use bartizan_local::admission::Ticket;
use serde::{Deserialize, Serialize};

use crate::measured_program::{Execution, MeasuredProgram};
use crate::qemu::accelerator::AcceleratorChoice;
use crate::qemu::parts::Parts;
use crate::qemu::queues::QueueLimit;
use crate::serial;
use crate::supervisor::users::Users;

/// The control socket's name: short, since a socket's whole path is (unix(7)).
pub(crate) const SOCKET: &str = "ctl.sock";
/// Most bytes of a configuration: a launch record and some.
const LONGEST: u64 = 4 << 20;

/// Everything that a supervisor needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorConfig {
    /// The guest's identity in this boot.
    #[serde(with = "serial::text")]
    pub guest: GuestIdentity,
    /// The launch record's YAML as signed; its signature was verified by the daemon.
    pub record: String,
    /// The daemon's user: no other may ask anything of the supervisor.
    pub daemon: u32,
    /// The guest's vsock context id, at least 3, used by no other guest of this host: what it says of its guest. Devices
    /// know it by the ticket.
    pub cid: u32,
    /// The supervisor's folder, in its guest's, which is the daemon's: control socket, console's log, locks, ending.
    pub directory: PathBuf,
    /// The folder of the locks by which guests' users are taken; all supervisors' of this host.
    pub locks: PathBuf,
    /// QEMU.
    pub qemu: Program,
    /// What QEMU is made of, where the launcher measured it.
    #[serde(default)]
    pub qemu_parts: Option<Parts>,
    /// The library that QEMU is preloaded with where it is executed by its path, so that writes to its RAM can be tracked. One that
    /// was measured has it among its parts.
    #[serde(default)]
    pub tracking_library: Option<PathBuf>,
    /// The measurer.
    pub measurer: Program,
    /// Control socket of the devices process.
    pub devices: PathBuf,
    /// What the guest's vsock device is attached by: the daemon had that device, and no other, admitted by it.
    #[serde(with = "serial::ticket")]
    pub ticket: Ticket,
    /// KVM or TCG.
    #[serde(default)]
    pub accelerator: AcceleratorChoice,
    /// Most queues each way of its network device.
    #[serde(default)]
    pub network_queues: QueueLimit,
}

/// A program to start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its absolute path.
    pub path: PathBuf,
    /// What it is made of, where the launcher measured it with its loader.
    #[serde(default)]
    pub measured: Option<MeasuredProgram>,
    /// Whom it runs as, one of these; the supervisor's own user where there is none.
    #[serde(default)]
    pub users: Option<Users>,
}

impl Program {
    /// How it is executed, under the name that it goes by.
    #[must_use]
    pub fn execution(&self, name: &str) -> Execution {
        match &self.measured {
            Some(measured) => measured.execution(name),
            None => Execution::of_path(&self.path),
        }
    }
}

/// The configuration cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read, is no configuration, or not all of it: the daemon ended.
    #[error("what came on standard input is no supervisor's configuration: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl SupervisorConfig {
    /// Reads one, and nothing of what follows it.
    pub fn read(from: impl Read) -> Result<Self, ConfigError> {
        let mut json = serde_json::Deserializer::from_reader(from.take(LONGEST));
        Ok(Self::deserialize(&mut json)?)
    }

    /// As [`SupervisorConfig::read`] reads it.
    pub fn to_json(&self) -> Result<Vec<u8>, ConfigError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// What the supervisor prints; the daemon opens it, in the guest's folder.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.with_file_name("supervisor.log")
    }

    /// The console's log.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// Where the ending is left.
    #[must_use]
    pub fn ending(&self) -> PathBuf {
        self.directory.join("ending.json")
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;

    use super::*;

    #[test]
    fn configuration_comes_back_whole_or_not_at_all() {
        let program = |path: &str| Program {
            path: path.into(),
            measured: None,
            users: serde_json::from_str(r#"{"first":1,"count":3,"gid":2}"#).unwrap(),
        };
        let config = SupervisorConfig {
            guest: GuestIdentity {
                card: CardId([7; 32]),
                vm: [1; 16],
                boot: 3,
            },
            record: "version: 1\n".into(),
            daemon: 990,
            cid: 3,
            directory: "/run/guests/a".into(),
            locks: "/run/users".into(),
            qemu: program("/usr/bin/qemu-system-x86_64"),
            qemu_parts: None,
            tracking_library: Some("/usr/lib/bartizan/libbartizan_tracked.so".into()),
            measurer: program("/usr/bin/bartizan-measurer"),
            devices: "/run/devices.sock".into(),
            ticket: Ticket::new([0xa5; 32]),
            accelerator: AcceleratorChoice::Tcg,
            network_queues: QueueLimit::try_from(2).unwrap(),
        };
        assert!(format!("{config:?}").contains("Ticket(..)"));
        let json = config.to_json().unwrap();
        let with_more = [json.as_slice(), b"!"].concat();
        let mut stream = with_more.as_slice();
        assert_eq!(SupervisorConfig::read(&mut stream).unwrap(), config);
        assert_eq!(stream, b"!");
        // The daemon ended before it had written all.
        for cut in [0, json.len() - 1] {
            let refused = SupervisorConfig::read(&json[..cut]);
            assert!(matches!(refused, Err(ConfigError::Malformed(_))));
        }
    }
}
