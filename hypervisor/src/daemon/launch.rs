//! Starts a guest: counts the boot, prepares its folder, starts its supervisor.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use bartizan_attestation::host::{CardReply, CardRequest, OperatorRefusal};
use bartizan_attestation::launch::{LaunchRecord, VerifiedRecord};

use super::config::{API_PORT, Child};
use super::process_id::ProcessId;
use super::registry::Registry;
use super::started::Started;
use super::unheard::has_ended;
use crate::supervisor::{LaunchError, Program, ServiceConfig, SupervisorConfig, launch};

/// What an operator ordered to be run.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) verified: VerifiedRecord,
    /// As the operator signed it.
    pub(super) signed: Vec<u8>,
    /// When the operator ordered it, in seconds since the Unix epoch.
    pub(super) ordered_at_s: u64,
}

/// How long a start may take: its disks are hashed, and a boot that hangs is tried again by the supervisor later.
const DEADLINE: Duration = Duration::from_secs(240);

/// Starts a supervisor for one boot of a guest; returns when QEMU runs.
pub(super) async fn start(
    registry: &Registry,
    order: &Order,
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
    if !has_ended(&directory) {
        return Err(OperatorRefusal::AlreadyRunning(record.name.clone()));
    }
    let refused = |error: &dyn std::error::Error| OperatorRefusal::Start(error.to_string());
    let notes = registry.config.started();
    // One that gave its locks up and lives on is not what it was: two must not share a folder.
    if let Ok(Some(former)) = Started::load(&notes, record.uuid)
        && let Some(supervisor) = former.supervisor
        && supervisor.kill().map_err(|error| refused(&error))?
    {
        tracing::warn!(
            vm = record.name,
            "a supervisor that had given its locks up was killed"
        );
    }
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
    prepare(&directory)
        .map_err(|error| OperatorRefusal::Start(format!("{}: {error}", directory.display())))?;
    let mut started = Started {
        record: order.signed.clone(),
        ordered_at_s: order.ordered_at_s,
        guest,
        cid,
        measurement: None,
        supervisor: None,
        stopped: false,
    };
    let config = SupervisorConfig {
        guest,
        record: yaml.clone(),
        daemon: rustix::process::geteuid().as_raw(),
        cid,
        directory,
        locks: registry.config.run_dir.join("users"),
        qemu: program(&registry.config.qemu),
        measurer: program(&registry.config.measurer),
        devices: registry.config.devices_socket.clone(),
        services,
        accelerator: registry.config.accelerator,
        limits: registry.config.limits,
    };
    let note = |pid| {
        started.supervisor = Some(ProcessId::of(pid).map_err(|error| error.to_string())?);
        started.store(&notes).map_err(|error| error.to_string())
    };
    match launch(&registry.config.supervisor, &config, DEADLINE, note).await {
        Ok((pid, measurement)) => {
            started.measurement = Some(measurement.to_string());
            started.store(&notes).map_err(|error| refused(&error))?;
            tracing::info!(%guest, vm = record.name, cid, pid, "guest started");
            Ok(())
        }
        Err(LaunchError::Refused(refusal)) => Err(refusal),
        Err(error) => Err(refused(&error)),
    }
}

/// The attestation API, and what the record names of the host's services.
fn services(
    registry: &Registry,
    record: &LaunchRecord,
) -> Result<Vec<ServiceConfig>, OperatorRefusal> {
    let api = registry.config.guest_dir(record.uuid).join("api.sock");
    let mut services = vec![ServiceConfig {
        port: API_PORT,
        socket: api,
    }];
    for name in &record.services {
        let service = registry.config.services.get(name).ok_or_else(|| {
            OperatorRefusal::BadRecord(format!("this host has no service `{name}`"))
        })?;
        let socket = service.socket.replace("{uuid}", &record.uuid.to_string());
        services.push(ServiceConfig {
            port: service.port,
            socket: socket.into(),
        });
    }
    Ok(services)
}

/// A folder through which devices may reach the API's socket; what an older boot left in it is removed.
fn prepare(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new()
        .mode(0o711)
        .recursive(true)
        .create(directory)
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
    for stale in ["supervisor.sock", "ending.json"] {
        match fs::remove_file(directory.join(stale)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn program(child: &Child) -> Program {
    Program {
        path: child.program.clone(),
        users: child.users,
    }
}
