//! Ending a guest whose supervisor does not answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::config::Config;
use super::started::{Started, StartedError};
use super::unheard::has_ended;

/// How long the kernel may take to end what was killed.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);

/// A guest could not be ended by force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForceError {
    /// What was started cannot be known, or the order not be noted.
    #[error(transparent)]
    Note(#[from] StartedError),
    /// This host's daemons did not start it.
    #[error("no daemon of this host noted its start; end its supervisor by hand")]
    Unknown,
    /// The supervisor cannot be killed.
    #[error("its supervisor cannot be killed: {0}")]
    Kill(#[from] std::io::Error),
    /// Something of it is still there.
    #[error("it has not ended within {DEADLINE:?}")]
    Lingers,
}

/// Kills the supervisor that was started for a guest, with which the kernel kills its children, and waits until nothing of
/// the boot is left. It counts as stopped by an operator: no policy starts it again.
pub(super) async fn end(config: &Config, vm: Uuid) -> Result<(), ForceError> {
    let started = Started::load(&config.started(), vm)?.ok_or(ForceError::Unknown)?;
    let started = Started {
        stopped: true,
        ..started
    };
    // First: a daemon that ends here must not start it again. But no full disk keeps it from being killed.
    let noted = started.store(&config.started());
    if let Some(supervisor) = &started.supervisor {
        supervisor.kill()?;
    }
    let give_up = Instant::now() + DEADLINE;
    while !has_ended(&config.guest_dir(vm)) {
        if Instant::now() > give_up {
            return Err(ForceError::Lingers);
        }
        sleep(RETRY).await;
    }
    Ok(noted?)
}
