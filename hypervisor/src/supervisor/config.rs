//! What a supervisor is started with: a JSON file that the daemon writes into the guest's folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bartizan_attestation::identity::GuestIdentity;
use serde::{Deserialize, Serialize};

use crate::qemu::accelerator::AcceleratorChoice;
use crate::qemu::cgroup::Limits;
use crate::supervisor::users::Users;

/// Everything that a supervisor needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorConfig {
    /// The guest's identity in this boot.
    #[serde(with = "urn")]
    pub guest: GuestIdentity,
    /// The launch record's YAML as signed; its signature was verified by the daemon.
    pub record: String,
    /// The operator who signed it.
    pub operator: String,
    /// The guest's vsock context id, at least 3, used by no other guest of this host.
    pub cid: u32,
    /// The guest's folder: control socket, console log, ending.
    pub directory: PathBuf,
    /// The folder of the locks by which guests' users are taken; all supervisors' of this host.
    pub locks: PathBuf,
    /// QEMU.
    pub qemu: Program,
    /// The measurer.
    pub measurer: Program,
    /// Control socket of the devices process.
    pub devices: PathBuf,
    /// The host's services that the guest may reach by vsock.
    pub services: Vec<ServiceConfig>,
    /// KVM or TCG.
    #[serde(default)]
    pub accelerator: AcceleratorChoice,
    /// QEMU's limits.
    #[serde(default)]
    pub limits: Limits,
}

/// A program to start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its absolute path.
    pub path: PathBuf,
    /// Whom it runs as, one of these; the supervisor's own user where there is none.
    #[serde(default)]
    pub users: Option<Users>,
}

/// A host service behind a vsock port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// The port that the guest connects to.
    pub port: u32,
    /// The Unix stream socket behind it.
    pub socket: PathBuf,
}

/// The configuration cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no configuration.
    #[error("{path} is no supervisor's configuration: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl SupervisorConfig {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Io {
            path: path.into(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.into(),
            source,
        })
    }

    /// Writes it where [`SupervisorConfig::path`] says, readable by its owner only.
    pub fn store(&self) -> Result<PathBuf, ConfigError> {
        let path = self.path();
        let failed = |source| ConfigError::Io {
            path: path.clone(),
            source,
        };
        let json = serde_json::to_vec_pretty(self).map_err(|source| ConfigError::Malformed {
            path: path.clone(),
            source,
        })?;
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&json))
            .map_err(failed)?;
        Ok(path)
    }

    /// The configuration file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join("supervisor.json")
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("supervisor.sock")
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

/// An identity as its URN.
mod urn {
    use bartizan_attestation::identity::GuestIdentity;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        guest: &GuestIdentity,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(guest)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<GuestIdentity, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;

    use super::*;

    #[test]
    fn configuration_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let program = |path: &str| Program {
            path: path.into(),
            users: serde_json::from_str(r#"{"first":1,"count":3,"gid":2}"#).unwrap(),
        };
        let config = SupervisorConfig {
            guest: GuestIdentity {
                card: CardId([7; 32]),
                vm: [1; 16],
                boot: 3,
            },
            record: "version: 1\n".into(),
            operator: "ann".into(),
            cid: 3,
            directory: folder.path().into(),
            locks: folder.path().join("users"),
            qemu: program("/usr/bin/qemu-system-x86_64"),
            measurer: program("/usr/bin/bartizan-measurer"),
            devices: "/run/devices.sock".into(),
            services: vec![ServiceConfig {
                port: 1027,
                socket: "/run/api.sock".into(),
            }],
            accelerator: AcceleratorChoice::Tcg,
            limits: Limits::default(),
        };
        let path = config.store().unwrap();
        assert_eq!(SupervisorConfig::load(&path).unwrap(), config);
    }
}
