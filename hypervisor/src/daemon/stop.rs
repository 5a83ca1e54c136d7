//! Stopping a guest for an operator: by its supervisor, or, where that does not answer, by force.

use std::time::Duration;

use bartizan_attestation::host::{OperatorRefusal, SupervisorReply};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::force::{self, ForceError};
use super::places::Known;
use super::registry::Registry;

/// How long a guest that is down may still have its place, while its supervisor says its last.
const FAREWELL: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(10);

/// Stops a guest; when this returns it is gone, and its name is free.
pub(super) async fn stop(
    registry: &Registry,
    known: &Known,
    force: bool,
) -> Result<(), OperatorRefusal> {
    let (vm, name) = (known.vm(), known.name().to_owned());
    let answered = match known {
        // A supervisor that does not even say how its guest is will not stop it.
        Known::Guest(guest) if guest.supervisor.status().await.is_ok() => {
            guest.supervisor.stop(force).await.ok()
        }
        Known::Guest(_) | Known::Unheard(_) => None,
    };
    let obeyed = match answered {
        Some(SupervisorReply::Done) => true,
        Some(SupervisorReply::Refused(why)) if !force => return Err(OperatorRefusal::Start(why)),
        Some(_) | None if !force => return Err(OperatorRefusal::Unresponsive(name)),
        Some(_) | None => false,
    };
    if obeyed && is_gone(registry, vm).await {
        return Ok(());
    }
    if !force {
        return Err(OperatorRefusal::StillEnding(name, FAREWELL.as_secs()));
    }
    // What it answered is not to be relied on: its QEMU may have taken it over.
    tracing::warn!(vm = name, "a guest that does not end is killed");
    let ended = force::end(&registry.config, vm).await;
    ended.map_err(|error| match error {
        ForceError::Lingers => OperatorRefusal::StillEnding(name, force::DEADLINE.as_secs()),
        error => OperatorRefusal::Start(error.to_string()),
    })?;
    is_gone(registry, vm).await;
    Ok(())
}

/// Waits until a guest has no place any more.
async fn is_gone(registry: &Registry, vm: Uuid) -> bool {
    let give_up = Instant::now() + FAREWELL;
    while registry.has(vm) {
        if Instant::now() > give_up {
            return false;
        }
        sleep(RETRY).await;
    }
    true
}
