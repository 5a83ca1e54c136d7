//! Ending a guest whose supervisor does not answer.

use std::time::Duration;

use uuid::Uuid;

use super::config::Config;
use super::ended::{self, EndError};
use super::started::{Started, StartedError};

/// How long the kernel may take to end what was killed.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A guest could not be ended by force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForceError {
    /// What was started cannot be known, or the order not be noted.
    #[error(transparent)]
    Note(#[from] StartedError),
    /// This host's daemons did not start it.
    #[error("no daemon of this host noted its start; end its supervisor by hand")]
    Unknown,
    /// It cannot be killed.
    #[error(transparent)]
    End(#[from] EndError),
    /// Something of it is still there.
    #[error("it has not ended within {DEADLINE:?}")]
    Lingers,
}

/// Kills the supervisor that was started for a guest and all in the boot's control group, and waits until nothing of it is
/// left. It counts as stopped by an operator: no policy starts it again.
pub(super) async fn end(config: &Config, vm: Uuid) -> Result<(), ForceError> {
    let started = Started::load(&config.started(), vm)?.ok_or(ForceError::Unknown)?;
    let started = Started {
        stopped: true,
        ..started
    };
    // First: a daemon that ends here must not start it again. But no full disk keeps it from being killed.
    let noted = started.store(&config.started());
    if !ended::within(config, &started, DEADLINE).await? {
        return Err(ForceError::Lingers);
    }
    Ok(noted?)
}
