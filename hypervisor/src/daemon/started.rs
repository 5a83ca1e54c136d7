//! What the daemon notes of each guest that it starts: in a folder of its own, where no supervisor may write.
//!
//! Known attack: a supervisor that its QEMU took over wants another guest's disks, another guest's identity, or the end
//! of a process that is not its own. Whatever of these the daemon needs of a guest later, when it takes it up or starts it
//! again, is read here, never from the guest's folder; the record's signature is verified each time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::launch::{LaunchRecordError, Network, VerifiedRecord, verify_record};
use bartizan_local::admission::{Admission, Interface, Ipv4, Ipv6, Service, Ticket};
use bartizan_local::flow::Guest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::link::LinkError;
use super::process_id::ProcessId;
use crate::cgroup::Cgroup;
use crate::serial;

/// One start of a guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// The signed launch record (COSE_Sign1), as the operator sent it.
    #[serde(with = "serial::base64")]
    pub record: Vec<u8>,
    /// When the operator sent it, in seconds since the Unix epoch: the operator's certificate had to be valid then.
    pub ordered_at_s: u64,
    /// The guest's identity in this boot, as the card counted it.
    #[serde(with = "serial::text")]
    pub guest: GuestIdentity,
    /// Its vsock CID.
    pub cid: u32,
    /// What its devices are attached by, in this boot.
    #[serde(with = "serial::ticket")]
    pub ticket: Ticket,
    /// The host's services that it may reach by vsock, for as long as it runs.
    pub services: Vec<HostService>,
    /// Its network device, as its record has it.
    #[serde(default)]
    pub network: Option<Network>,
    /// Its launch measurement in hexadecimal, as its supervisor told it before it started QEMU: without one no guest runs.
    #[serde(default)]
    pub measurement: Option<String>,
    /// The control group of its processes.
    #[serde(default)]
    pub group: Cgroup,
    /// Its supervisor, once there is one.
    #[serde(default)]
    pub supervisor: Option<ProcessId>,
    /// Whether an operator ended it by force, or was told that it did not start: no policy starts it again.
    #[serde(default)]
    pub stopped: bool,
}

/// A host service behind a vsock port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostService {
    /// The port that the guest connects to.
    pub port: u32,
    /// The Unix stream socket behind it.
    pub socket: String,
}

/// What was started cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum StartedError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no note of a start.
    #[error("{path} does not tell what was started: {source}; remove it and run the guest again", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// No operator signed that record.
    #[error("its launch record is not an operator's: {0}; run the guest again")]
    Record(#[from] LaunchRecordError),
    /// The card may know the CA that the record is of, and could not be asked.
    #[error(
        "its launch record is of a fleet CA that is not known here ({record}), and whether it is this fleet's: {card}"
    )]
    Unasked {
        /// What is not known.
        record: LaunchRecordError,
        /// Why it was not asked.
        #[source]
        card: Box<LinkError>,
    },
    /// The record is of another VM.
    #[error("its launch record is of the VM {0}; run the guest again")]
    OtherVm(Uuid),
}

impl Started {
    /// The note of a VM's newest start; `None` where it was never started.
    pub fn load(folder: &Path, vm: Uuid) -> Result<Option<Self>, StartedError> {
        let path = file(folder, vm);
        match fs::read(&path) {
            Ok(json) => match serde_json::from_slice(&json) {
                Ok(started) => Ok(Some(started)),
                Err(source) => Err(StartedError::Malformed { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StartedError::Io { path, source }),
        }
    }

    /// Leaves it for later daemons: whole or not at all, readable by its owner only.
    pub fn store(&self, folder: &Path) -> Result<(), StartedError> {
        let path = file(folder, self.vm());
        let write = || {
            fs::DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(folder)?;
            let partial = path.with_extension("partial");
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            // After a power cut as well: a daemon does not start with half a note.
            file.sync_all()?;
            fs::rename(partial, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|source| StartedError::Io {
            path: path.clone(),
            source,
        })
    }

    /// The folders of the groups in which noted boots have theirs: a former daemon may have been in another group.
    pub(crate) fn groups(folder: &Path) -> BTreeSet<PathBuf> {
        // A daemon that cannot read its notes does not come so far as to use a group.
        let noted = Self::all(folder).unwrap_or_default().into_iter();
        let noted = noted.filter_map(|vm| Self::load(folder, vm).ok().flatten());
        let above = |started: Self| {
            started
                .group
                .above()
                .map(Path::to_owned)
                .collect::<Vec<_>>()
        };
        noted.flat_map(above).collect()
    }

    /// Its devices, as these are told of them.
    pub fn admission(&self) -> Admission {
        let services = self.services.iter().map(|service| Service {
            port: service.port,
            socket: service.socket.clone(),
        });
        Admission {
            ticket: self.ticket,
            cid: self.cid,
            services: services.collect(),
            network: self.network.as_ref().map(|network| self.interface(network)),
            // Who tells devices knows whether it told them before.
            runs: false,
        }
    }

    fn interface(&self, network: &Network) -> Interface {
        let GuestIdentity { vm, boot, .. } = self.guest;
        Interface {
            guest: Guest { vm, boot },
            segment: network.segment.clone(),
            mac: network.mac(self.vm()).0,
            ipv4: network.ipv4.map(|ip| Ipv4 {
                address: ip.address,
                prefix: ip.prefix,
                gateway: network.gateway,
            }),
            ipv6: network.ipv6.map(|ip| Ipv6 {
                address: ip.address,
                prefix: ip.prefix,
            }),
            mtu: network.mtu,
        }
    }

    /// Of which VM it is.
    pub(super) fn vm(&self) -> Uuid {
        Uuid::from_bytes(self.guest.vm)
    }

    /// The VMs that there are notes of.
    pub(super) fn all(folder: &Path) -> Result<Vec<Uuid>, StartedError> {
        let vm = |entry: fs::DirEntry| {
            let name = entry.file_name();
            Uuid::try_parse(name.to_str()?.strip_suffix(".json")?).ok()
        };
        let list = || match fs::read_dir(folder) {
            Ok(entries) => entries.collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let entries: Vec<_> = list().map_err(|source| StartedError::Io {
            path: folder.to_owned(),
            source,
        })?;
        Ok(entries.into_iter().filter_map(vm).collect())
    }

    /// The record, its signature verified as of when it was ordered; it must be this VM's.
    pub fn verify(&self, fleet_ca: &FleetCa) -> Result<VerifiedRecord, StartedError> {
        let verified = verify_record(&self.record, fleet_ca, self.ordered_at_s)?;
        if verified.record.uuid == self.vm() {
            Ok(verified)
        } else {
            Err(StartedError::OtherVm(verified.record.uuid))
        }
    }
}

fn file(folder: &Path, vm: Uuid) -> PathBuf {
    folder.join(format!("{vm}.json"))
}
