//! Stopping a guest for an operator: by its supervisor, or, where that does not answer, by force.

use std::time::Duration;

use bartizan_attestation::host::{OperatorRefusal, SupervisorReply};
use tokio::time::{Instant, sleep};

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
    let record = known.record();
    let answered = match known {
        // A supervisor that does not even say how its guest is will not stop it.
        Known::Guest(guest) if guest.supervisor.status().await.is_ok() => {
            guest.supervisor.stop(force).await.ok()
        }
        Known::Guest(_) | Known::Unheard(_) => None,
    };
    match answered {
        Some(SupervisorReply::Done) => {}
        Some(SupervisorReply::Refused(why)) => return Err(OperatorRefusal::Start(why)),
        Some(_) | None if !force => {
            return Err(OperatorRefusal::Unresponsive(record.name.clone()));
        }
        Some(_) | None => {
            tracing::warn!(vm = record.name, "a guest that does not answer is killed");
            let ended = force::end(&registry.config, record.uuid).await;
            ended.map_err(|error| match error {
                ForceError::Lingers => {
                    OperatorRefusal::StillEnding(record.name.clone(), force::DEADLINE.as_secs())
                }
                error => OperatorRefusal::Start(error.to_string()),
            })?;
        }
    }
    let give_up = Instant::now() + FAREWELL;
    while registry.has(record.uuid) && Instant::now() < give_up {
        sleep(RETRY).await;
    }
    Ok(())
}
