//! What every attempt of a boot is started from.

use std::io;

use bartizan_attestation::host::{MeasurerContext, OperatorRefusal, RamRange};
use bartizan_attestation::launch::LaunchRecord;

use crate::measured_program::Execution;
use crate::qemu::accelerator::Accelerator;
use crate::qemu::command_line::{Arguments, NetworkArguments};
use crate::qemu::files::FileError;
use crate::qemu::launch::Prepared;
use crate::qemu::layout;
use crate::supervisor::SupervisorConfig;
use crate::supervisor::locks::Locks;
use crate::supervisor::tracking::Tracking;
use crate::supervisor::users::OwnUsers;
use crate::supervisor::vhost::Devices;

/// A boot's files, hashed, and what follows from its configuration.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: SupervisorConfig,
    /// Whom its processes run as.
    pub users: OwnUsers,
    /// Its launch record.
    pub record: LaunchRecord,
    /// The record's files.
    pub prepared: Prepared,
    /// KVM or TCG.
    pub accelerator: Accelerator,
    /// Where the guest's RAM lies.
    pub ranges: Vec<RamRange>,
    /// What its QEMUs are tracked by, where they can be.
    pub tracking: Option<Tracking>,
    /// Held until this boot has ended.
    pub locks: Locks,
}

impl Plan {
    /// Reads the launch record, takes users for the guest, opens and hashes its files.
    pub fn new(config: SupervisorConfig, locks: Locks) -> Result<Self, OperatorRefusal> {
        let record = LaunchRecord::parse(&config.record)
            .map_err(|error| OperatorRefusal::BadRecord(error.to_string()))?;
        let ranges = (config.qemu.users, config.measurer.users);
        let users = OwnUsers::take(&config.locks, ranges.0, ranges.1)
            .map_err(|error| OperatorRefusal::Start(error.to_string()))?;
        let prepared = Prepared::new(&record, &config.record).map_err(refusal)?;
        Ok(Self {
            accelerator: Accelerator::for_host(config.accelerator, users.qemu),
            ranges: layout::ranges(record.machine, record.memory_mib << 20),
            tracking: Tracking::open(&config),
            users,
            prepared,
            record,
            config,
            locks,
        })
    }

    /// The guest's RAM in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.record.memory_mib << 20
    }

    /// The guest's vsock device for a new QEMU process.
    pub(super) fn devices(&self) -> io::Result<Devices> {
        Devices::vsock(self.config.devices.clone(), self.config.ticket)
    }

    /// Its network device, where it has one.
    pub(super) fn network(&self) -> Option<Devices> {
        let network = self.record.network.as_ref();
        network.map(|_| Devices::network(self.config.devices.clone(), self.config.ticket))
    }

    /// QEMU's arguments; the descriptors of one attempt are to be filled in.
    #[must_use]
    pub(super) fn arguments(&self) -> Arguments<'_> {
        Arguments {
            name: &self.record.name,
            uuid: self.record.uuid,
            machine: self.record.machine,
            accelerator: self.accelerator,
            cpu_model: self.record.cpu_model.as_deref(),
            cpus: self.record.cpus,
            memory: self.memory(),
            ram: -1,
            boot: self.prepared.boot_arguments(),
            disks: self.prepared.disk_arguments(),
            qmp: -1,
            console: -1,
            vsock: -1,
            network: self
                .record
                .network
                .as_ref()
                .map(|network| NetworkArguments {
                    mac: network.mac(self.record.uuid),
                    mtu: network.mtu,
                    queues: self.config.network_queues.of(self.record.cpus),
                }),
        }
    }

    /// How QEMU is executed.
    pub(super) fn execution(&self) -> Execution {
        match &self.config.qemu_parts {
            Some(parts) => parts.execution(),
            None => Execution::of_path(&self.config.qemu.path),
        }
    }

    /// What the measurer is told of the guest.
    #[must_use]
    pub fn measurer_context(&self) -> MeasurerContext {
        MeasurerContext {
            guest: self.config.guest,
            launch_measurement: self.prepared.measurement.clone(),
            ram: self.ranges.clone(),
            bytes_per_request: self.record.budget.bytes_per_request,
            hypervisor_version: env!("CARGO_PKG_VERSION").into(),
            kernel_text: None,
            tracked: None,
        }
    }
}

fn refusal(error: FileError) -> OperatorRefusal {
    match error {
        FileError::Mismatch {
            path,
            expected,
            found,
        } => OperatorRefusal::FileMismatch {
            path: path.display().to_string(),
            expected,
            found,
        },
        other => OperatorRefusal::Start(other.to_string()),
    }
}
