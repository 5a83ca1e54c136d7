//! The daemon's configuration: one YAML file, checked whole before anything is bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bartizan_local::measured::{Handed, NotHanded};
use serde::{Deserialize, Deserializer};

use crate::cgroup::Limits;
use crate::measured_program::MeasuredProgram;
use crate::qemu::accelerator::AcceleratorChoice;
use crate::qemu::parts::Parts;
use crate::qemu::queues::QueueLimit;
use crate::supervisor::SupervisorProgram;
use crate::supervisor::config::SOCKET;
use crate::supervisor::users::Users;

/// Configuration of `bartizan-hypervisor`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of run-time state: one folder a guest with its sockets, and notes of what was started. Emptied at a host's
    /// reboot.
    pub run_dir: PathBuf,
    /// Socket at which it takes what the card has authorised for operators.
    pub operator_socket: PathBuf,
    /// Who may ask there: the card's user, and nobody else, since whoever asks is not asked for a signature.
    pub allowed_uids: Vec<u32>,
    /// The card's socket.
    pub card_socket: PathBuf,
    /// The devices' control socket.
    pub devices_socket: PathBuf,
    /// The user that devices run as: no other may connect to a guest's API.
    pub devices_uid: u32,
    /// The fleet CA certificate, PEM or DER: launch records must chain to it. This and the programs below may be `measured:NAME`:
    /// a file that the launcher measured and handed over.
    pub fleet_ca: PathBuf,
    /// Files or folders beneath which all files of launch records lie; no other can be used. A block device is named as
    /// what it leads to (`/dev/dm-3`).
    pub images: Vec<PathBuf>,
    /// The supervisor. Its user is neither the daemon's nor anybody else's: whoever asks the card, or a supervisor, must be
    /// the daemon.
    pub supervisor: SupervisorProgram,
    /// QEMU.
    pub qemu: Child,
    /// What QEMU is made of, where the launcher measured it.
    #[serde(skip)]
    pub qemu_parts: Option<Parts>,
    /// The library that QEMU is preloaded with where it is no file that the launcher measured: without it, measurements have guests stand
    /// still for longer. One that was measured has the library among its parts, or does without.
    #[serde(default)]
    pub tracking_library: Option<PathBuf>,
    /// The measurer.
    pub measurer: Child,
    /// KVM or TCG; chosen by probing if absent.
    #[serde(default)]
    pub accelerator: AcceleratorChoice,
    /// Most queues each way of a guest's network device, 1 to 4: it has one for each of its processors.
    #[serde(default)]
    pub network_queues: QueueLimit,
    /// Limits of each guest's control group.
    #[serde(default)]
    pub limits: Limits,
    /// Who decides what guests may do; nobody if absent, and all that is to be decided is denied.
    #[serde(default)]
    pub enclave: Option<Enclave>,
    /// Host services beside the attestation API that launch records may name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
}

/// A program that runs as another user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// Its program.
    pub program: PathBuf,
    /// What it is made of, where the launcher measured it with its loader: the measurer. QEMU's is `qemu_parts`.
    #[serde(skip)]
    pub measured: Option<MeasuredProgram>,
    /// Whom it runs as: one user a guest, of this range. A group may be what QEMU opens `/dev/kvm` by. Every configuration
    /// names one; `None`, the daemon's own user, is for a daemon without the rights to become another.
    #[serde(deserialize_with = "named")]
    pub users: Option<Users>,
}

fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Users>, D::Error> {
    Users::deserialize(from).map(Some)
}

/// Where the enclave is met.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enclave {
    /// The socket at which its keeper connects it.
    pub socket: PathBuf,
    /// The user that the keeper runs as: no other may connect there.
    pub keeper_uid: u32,
    /// The devices' socket for decisions.
    pub decisions_socket: PathBuf,
}

/// A host service that guests may reach over vsock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The port at CID 2.
    pub port: u32,
    /// The Unix stream socket behind it; `{uuid}` stands for the guest's UUID.
    pub socket: String,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration; the message has line and column.
    #[error("{path} is no hypervisor configuration: {source}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// A file that was not handed over.
    #[error(transparent)]
    NotHanded(#[from] NotHanded),
    /// A user would be that of two processes.
    #[error(
        "`{0}` has a user of another process's, or one of `allowed_uids`; take users that nobody else has (/etc/subuid says which ranges are taken)"
    )]
    UserTaken(&'static str),
    /// The sockets of guests would have paths that no socket can have.
    #[error(
        "`run_dir` is too long by {over} bytes: paths of sockets in it would have more than {MOST_OF_A_SOCKET} (unix(7)); choose another"
    )]
    LongRunDir {
        /// By how much.
        over: usize,
    },
    /// The supervisors' user is root.
    #[error("`supervisor.user` must not be 0, which is root")]
    Root,
    /// Two services, or a service and the attestation API, share a port.
    #[error("service `{0}` has a port that is taken (1027 is the attestation API's)")]
    PortTaken(String),
}

/// The name of the folder in a guest's that is its supervisor's.
pub(super) const BOOT: &str = "boot";

/// Most bytes of a socket's path (unix(7)); one more ends it.
const MOST_OF_A_SOCKET: usize = 107;

/// The attestation API's port at CID 2.
pub(crate) const API_PORT: u32 = 1027;

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let mut config: Self =
            serde_saphyr::from_str(&text).map_err(|source| ConfigError::Malformed {
                path: path.into(),
                source: Box::new(source),
            })?;
        let handed = Handed::to_this_process();
        if let Some(name) = Handed::name(&config.qemu.program) {
            let folder = config.run_dir.join("qemu");
            config.qemu_parts = Some(Parts::handed(&handed, name, folder)?);
        }
        let measured = |path: &Path| match Handed::name(path) {
            Some(name) => MeasuredProgram::unless_static(&handed, name),
            None => Ok(None),
        };
        config.supervisor.measured = measured(&config.supervisor.program)?;
        config.measurer.measured = measured(&config.measurer.program)?;
        for path in [
            &mut config.fleet_ca,
            &mut config.supervisor.program,
            &mut config.qemu.program,
            &mut config.measurer.program,
        ] {
            *path = handed.resolve(path)?;
        }
        config.check_users()?;
        let longest = config.boot_dir(uuid::Uuid::nil()).join(SOCKET);
        let over = (longest.as_os_str().len()).saturating_sub(MOST_OF_A_SOCKET);
        if over > 0 {
            return Err(ConfigError::LongRunDir { over });
        }
        let mut taken = vec![API_PORT];
        for (name, service) in &config.services {
            if taken.contains(&service.port) {
                return Err(ConfigError::PortTaken(name.clone()));
            }
            taken.push(service.port);
        }
        Ok(config)
    }

    fn check_users(&self) -> Result<(), ConfigError> {
        let mut own = vec![self.devices_uid, rustix::process::geteuid().as_raw()];
        own.extend(&self.allowed_uids);
        own.extend(self.enclave.as_ref().map(|enclave| enclave.keeper_uid));
        if let Some(supervisor) = self.supervisor.user {
            if supervisor.uid == 0 || supervisor.gid == 0 {
                return Err(ConfigError::Root);
            }
            if own.contains(&supervisor.uid) {
                return Err(ConfigError::UserTaken("supervisor.user"));
            }
            own.push(supervisor.uid);
        }
        let ranges = [
            ("qemu.users", self.qemu.users),
            ("measurer.users", self.measurer.users),
        ];
        for (name, users) in ranges {
            let taken = |users: Users| own.iter().any(|uid| users.uids().contains(uid));
            if users.is_some_and(taken) {
                return Err(ConfigError::UserTaken(name));
            }
        }
        if let (Some(qemu), Some(measurer)) = (self.qemu.users, self.measurer.users)
            && qemu.overlaps(measurer)
        {
            return Err(ConfigError::UserTaken("measurer.users"));
        }
        Ok(())
    }

    /// The folder of one guest.
    pub(crate) fn guest_dir(&self, vm: uuid::Uuid) -> PathBuf {
        self.run_dir.join("guests").join(vm.to_string())
    }

    /// The folder in it that is its supervisor's, and all that a supervisor may write to.
    pub(crate) fn boot_dir(&self, vm: uuid::Uuid) -> PathBuf {
        self.guest_dir(vm).join(BOOT)
    }

    /// The folder of the notes of what was started: the daemon's own.
    pub(crate) fn started(&self) -> PathBuf {
        self.run_dir.join("started")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(supervisor: u32, qemu: u32, measurer: u32) -> Result<Config, ConfigError> {
        load_in("/x", supervisor, qemu, measurer)
    }

    fn load_in(
        run_dir: &str,
        supervisor: u32,
        qemu: u32,
        measurer: u32,
    ) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let child =
            |first| format!("{{ program: /x, users: {{ first: {first}, count: 10, gid: 9 }} }}");
        let text = format!(
            "{{ run_dir: {run_dir}, operator_socket: /x, allowed_uids: [0, 1000], card_socket: /x, devices_socket: /x, \
             devices_uid: 993, fleet_ca: /x, images: [/x], \
             supervisor: {{ program: /x, user: {{ uid: {supervisor}, gid: 9 }} }}, qemu: {}, measurer: {} }}",
            child(qemu),
            child(measurer),
        );
        std::fs::write(file.path(), text).unwrap();
        Config::load(file.path())
    }

    #[test]
    fn run_dir_leaves_room_for_the_paths_of_sockets() {
        let load =
            |length: usize| load_in(&format!("/{:x<1$}", "", length - 1), 980, 100_000, 100_010);
        load(49).unwrap();
        let refused = load(51).unwrap_err();
        assert!(
            matches!(refused, ConfigError::LongRunDir { over: 2 }),
            "{refused}"
        );
    }

    #[test]
    fn no_user_is_two_processes() {
        load(980, 100_000, 100_010).unwrap();
        let taken = |loaded: Result<Config, _>| match loaded.unwrap_err() {
            ConfigError::UserTaken(whose) => whose,
            other => panic!("{other}"),
        };
        assert_eq!(taken(load(980, 100_000, 100_009)), "measurer.users");
        // The devices' own.
        assert_eq!(taken(load(980, 990, 100_000)), "qemu.users");
        assert_eq!(taken(load(980, 100_000, 984)), "measurer.users");
        // The supervisors', which is no operator's and nobody else's.
        assert_eq!(taken(load(100_001, 100_000, 100_010)), "qemu.users");
        for other in [993, 1000, rustix::process::geteuid().as_raw()] {
            let refused = load(other, 100_000, 100_010).unwrap_err();
            assert!(matches!(
                refused,
                ConfigError::UserTaken("supervisor.user") | ConfigError::Root
            ));
        }
    }
}
