//! Starts a guest: counts the boot, prepares its folder, has its device admitted, starts its supervisor.

use std::time::Duration;

use bartizan_attestation::host::{CardReply, CardRequest, OperatorRefusal};
use bartizan_attestation::launch::{LaunchRecord, VerifiedRecord};

use super::admissions::ticket;
use super::config::{API_PORT, Child};
use super::ended::{self, EndError, has_ended};
use super::folder;
use super::group;
use super::pending::Pending;
use super::process_id::ProcessId;
use super::registry::Registry;
use super::started::{HostService, Started};
use crate::supervisor::{LaunchError, Milestone, Program, SupervisorConfig, launch};

/// What an operator ordered to be run.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) verified: VerifiedRecord,
    /// As the operator signed it.
    pub(super) signed: Vec<u8>,
    /// When the operator ordered it, in seconds since the Unix epoch.
    pub(super) ordered_at_s: u64,
    /// Whether its restart policy wants it now; otherwise an operator waits, and is told if it does not start.
    pub(super) by_policy: bool,
}

/// How long a start may take: its disks are hashed, and a boot that hangs is tried again by the supervisor later.
const DEADLINE: Duration = Duration::from_secs(240);

/// How long a supervisor that refused may take to be gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// Starts a supervisor for one boot of a guest; returns when QEMU runs.
pub(super) async fn start(
    registry: &Registry,
    order: &Order,
    pending: &Pending,
    cid: u32,
) -> Result<(), OperatorRefusal> {
    let VerifiedRecord {
        record,
        yaml,
        operator,
        ..
    } = &order.verified;
    let services = services(registry, record)?;
    let directory = registry.config.guest_dir(record.uuid);
    // Before the boot is counted: that would take the running one's identity away.
    if !has_ended(&registry.config, record.uuid) {
        return Err(OperatorRefusal::AlreadyRunning(record.name.clone()));
    }
    let refused = |error: &dyn std::error::Error| OperatorRefusal::Start(error.to_string());
    let ticket = ticket().map_err(|error| refused(&error))?;
    let counted = registry
        .card
        .ask(&CardRequest::NextBoot {
            vm: *record.uuid.as_bytes(),
            operator: operator.clone(),
        })
        .await;
    let guest = match counted.map_err(|error| OperatorRefusal::Card(error.to_string()))? {
        CardReply::Guest(guest) => guest,
        _ => return Err(OperatorRefusal::Card("answered something else".into())),
    };
    let group = group::create(&guest, record, registry.config.limits).map_err(|error| {
        OperatorRefusal::Start(format!("the guest's limits cannot be set: {error}"))
    })?;
    let mut started = Started {
        record: order.signed.clone(),
        ordered_at_s: order.ordered_at_s,
        guest,
        cid,
        ticket,
        services,
        network: record.network.clone(),
        measurement: None,
        group,
        supervisor: None,
        stopped: false,
    };
    // How the former boot ended is forgotten once this one is noted: a daemon that ends in between takes neither for the other.
    let boot_dir = registry.config.boot_dir(record.uuid);
    let prepared = async {
        let noted = registry.notes.of_boot(&mut started, pending);
        noted.map_err(|error| refused(&error))?;
        folder::prepare(&directory, &guest).await?;
        // Acknowledged before there is a QEMU: what devices refuse is not started.
        registry.running.runs(&started);
        let admission = started.admission();
        let admitted = registry.admissions.admit(record.uuid, admission).await;
        admitted.map_err(|error| refused(&error))
    }
    .await;
    if let Err(refusal) = prepared {
        give_up(registry, &mut started, order, pending).await;
        return Err(refusal);
    }
    let config = SupervisorConfig {
        guest,
        record: yaml.clone(),
        daemon: rustix::process::geteuid().as_raw(),
        cid,
        directory: boot_dir,
        locks: registry.config.run_dir.join("users"),
        qemu: program(&registry.config.qemu),
        qemu_parts: registry.config.qemu_parts.clone(),
        tracking_library: registry.config.tracking_library.clone(),
        measurer: program(&registry.config.measurer),
        devices: registry.config.devices_socket.clone(),
        ticket,
        accelerator: registry.config.accelerator,
        network_queues: registry.config.network_queues,
    };
    let group = started.group.clone();
    let note = |milestone| {
        if pending.is_cancelled() {
            return Err("an operator stopped it".into());
        }
        match milestone {
            Milestone::Spawned(pid) => {
                started.supervisor = Some(ProcessId::of(pid).map_err(|error| error.to_string())?);
            }
            Milestone::Prepared(measurement) => {
                started.measurement = Some(measurement.to_string());
            }
        }
        let noted = registry.notes.of_boot(&mut started, pending);
        noted.map_err(|error| error.to_string())
    };
    let program = &registry.config.supervisor;
    match launch(program, &config, &group, DEADLINE, note).await {
        Ok(_) if pending.is_cancelled() => {
            give_up(registry, &mut started, order, pending).await;
            Err(OperatorRefusal::Start("an operator stopped it".into()))
        }
        Ok(pid) => {
            tracing::info!(%guest, vm = record.name, cid, pid, "guest started");
            Ok(())
        }
        // It may start yet.
        Err(error @ LaunchError::TimedOut(_)) => Err(refused(&error)),
        Err(error) => {
            give_up(registry, &mut started, order, pending).await;
            Err(match error {
                LaunchError::Refused(refusal) => refusal,
                error => refused(&error),
            })
        }
    }
}

/// A boot that does not start: what there is of it is ended, and what an operator is told did not start is not started later.
async fn give_up(registry: &Registry, started: &mut Started, order: &Order, pending: &Pending) {
    let ended = ended::within(&registry.config, started, FAREWELL).await;
    started.stopped |= !order.by_policy;
    let noted = registry.notes.of_boot(started, pending);
    let ended = ended.map(drop);
    if let Err(error) = ended.and(noted.map_err(EndError::from)) {
        tracing::error!(vm = order.verified.record.name, %error, "a boot that did not start is not all forgotten");
    }
}

/// What the guest may reach: the attestation API, and what the record names of the host's services.
fn services(
    registry: &Registry,
    record: &LaunchRecord,
) -> Result<Vec<HostService>, OperatorRefusal> {
    let api = registry.config.guest_dir(record.uuid).join("api.sock");
    let mut services = vec![HostService {
        port: API_PORT,
        socket: api.display().to_string(),
    }];
    for name in &record.services {
        let service = registry.config.services.get(name).ok_or_else(|| {
            OperatorRefusal::BadRecord(format!("this host has no service `{name}`"))
        })?;
        let socket = service.socket.replace("{uuid}", &record.uuid.to_string());
        services.push(HostService {
            port: service.port,
            socket,
        });
    }
    Ok(services)
}

fn program(child: &Child) -> Program {
    Program {
        path: child.program.clone(),
        measured: child.measured.clone(),
        users: child.users,
    }
}
