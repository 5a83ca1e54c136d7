//! Ending a guest whose supervisor does not answer.

use std::time::Duration;

use bartizan_attestation::identity::GuestIdentity;
use uuid::Uuid;

use super::ended::{self, EndError};
use super::registry::Registry;
use super::started::StartedError;

/// How long the kernel may take to end what was killed.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A guest could not be ended by force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForceError {
    /// What was started cannot be known.
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

/// Kills the supervisor that was started for a boot and all in its control group, and waits until nothing of it is left. That an
/// operator stopped it is noted by then, as far as it can be: no full disk keeps it from being killed.
pub(super) async fn end(registry: &Registry, boot: &GuestIdentity) -> Result<(), ForceError> {
    let started = registry.notes.load(Uuid::from_bytes(boot.vm))?;
    let started = started.ok_or(ForceError::Unknown)?;
    // Another has been started since: no boot is beside one that has not ended.
    if started.guest != *boot {
        return Ok(());
    }
    if ended::within(&registry.config, &started, DEADLINE).await? {
        Ok(())
    } else {
        Err(ForceError::Lingers)
    }
}
