//! Whether a boot has ended. Its locks say so, and then nothing of it is left alive.
//!
//! Known attack: a supervisor that its QEMU took over gives its locks up, or takes their files away, and runs its guest on
//! where no operator sees it. So whoever has given the locks up is killed: the supervisor that was started, and all that
//! is in the boot's control group, which none of these can leave.

use std::time::Duration;

use bartizan_attestation::identity::GuestIdentity;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::config::Config;
use super::started::{Started, StartedError};
use crate::cgroup::CgroupError;
use crate::supervisor::locks::{Holder, holder};

const RETRY: Duration = Duration::from_millis(10);

/// A boot cannot be ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndError {
    /// What was started cannot be known.
    #[error(transparent)]
    Note(#[from] StartedError),
    /// The supervisor cannot be killed.
    #[error("its supervisor cannot be killed: {0}")]
    Kill(#[from] std::io::Error),
    /// The control group cannot be ended.
    #[error("its control group cannot be ended: {0}")]
    Group(#[from] CgroupError),
}

/// Whether a VM's last boot has ended; to be asked again. What cannot be looked at may be running.
pub(super) fn has_ended(config: &Config, vm: Uuid) -> bool {
    or_running(
        vm,
        noted(config, vm).and_then(|noted| look(config, vm, noted.as_ref())),
    )
}

/// Likewise, of one boot: once another is noted it has ended, and whether that one has is not looked at.
pub(super) fn boot_has_ended(config: &Config, boot: &GuestIdentity) -> bool {
    let vm = Uuid::from_bytes(boot.vm);
    let ended = noted(config, vm).and_then(|noted| match noted {
        Some(newer) if newer.guest != *boot => Ok(true),
        noted => look(config, vm, noted.as_ref()),
    });
    or_running(vm, ended)
}

fn look(config: &Config, vm: Uuid, noted: Option<&Started>) -> Result<bool, EndError> {
    match holder(&config.boot_dir(vm))? {
        Holder::Nobody => noted.map_or(Ok(true), end),
        // A lock can be held by whom it was handed to.
        Holder::Supervisor | Holder::Qemu => noted.map_or(Ok(false), is_gone),
    }
}

fn or_running(vm: Uuid, ended: Result<bool, EndError>) -> bool {
    ended.unwrap_or_else(|error| {
        tracing::error!(%vm, %error, "it cannot be told whether a guest has ended; it counts as running");
        false
    })
}

fn noted(config: &Config, vm: Uuid) -> Result<Option<Started>, EndError> {
    Ok(Started::load(&config.started(), vm)?)
}

/// Whether nobody of a boot is left, by its control group, which none of its processes can leave. Without one nobody knows.
fn is_gone(started: &Started) -> Result<bool, EndError> {
    let supervisor = match &started.supervisor {
        Some(supervisor) => supervisor.is_there()?,
        None => false,
    };
    Ok(!supervisor && started.group.tells() && started.group.is_empty()?)
}

/// Kills all that is left of a boot, whoever holds its locks, until it has ended. Whether that was so in time.
pub(super) async fn within(
    config: &Config,
    started: &Started,
    time: Duration,
) -> Result<bool, EndError> {
    let give_up = Instant::now() + time;
    loop {
        if end(started)? && boot_has_ended(config, &started.guest) {
            return Ok(true);
        }
        if Instant::now() > give_up {
            return Ok(false);
        }
        sleep(RETRY).await;
    }
}

/// Kills all that is left of a boot. Whether nothing is: to be asked again until then.
fn end(started: &Started) -> Result<bool, EndError> {
    let supervisor = match &started.supervisor {
        Some(supervisor) => supervisor.kill()?,
        None => false,
    };
    let group_is_gone = started.group.end()?;
    Ok(group_is_gone && !supervisor)
}
