//! Stopping a guest for an operator: by its supervisor, or, where that does not answer, by force. That it is to stay down is noted
//! first: neither its policy nor what its supervisor leaves starts it again.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{OperatorRefusal, SupervisorReply};
use bartizan_attestation::identity::GuestIdentity;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ended::boot_has_ended;
use super::force::{self, ForceError};
use super::guest::Guest;
use super::notes::Stop;
use super::pending::Pending;
use super::places::Known;
use super::registry::Registry;
use super::started::StartedError;

/// How long a guest that is down may still have its place, while its supervisor says its last.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long a supervisor that is gone may be outlived by its QEMU, when it was killed.
const MOMENT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(10);

/// Stops a guest; when this returns it is gone, and its name is free.
pub(super) async fn stop(
    registry: &Registry,
    mut known: Known,
    force: bool,
) -> Result<(), OperatorRefusal> {
    loop {
        if let Known::Pending(pending, _) = &known {
            match cancel(registry, pending, force).await? {
                Some(started) => known = started,
                None => return Ok(()),
            }
        }
        let (ordered, noted) = registry.notes.stop(known.vm());
        // Noted too late, where it ended before and is about to be started again: what has its place now is to be stopped.
        match (registry.of(known.vm()), known.boot()) {
            (Some(now), Some(boot)) if now.boot() == Some(boot) => {
                return stop_boot(registry, &now, &boot, (ordered, noted), force).await;
            }
            (Some(now), _) => known = now,
            (None, _) => return noted.map_err(not_noted),
        }
    }
}

async fn stop_boot(
    registry: &Registry,
    known: &Known,
    boot: &GuestIdentity,
    (ordered, noted): (Option<Stop>, Result<(), StartedError>),
    force: bool,
) -> Result<(), OperatorRefusal> {
    let name = known.name().to_owned();
    let stopped = match known {
        Known::Guest(guest) if noted.is_ok() => by_supervisor(registry, guest, force).await,
        Known::Guest(_) | Known::Unheard(_) | Known::Pending(..) => {
            Err(OperatorRefusal::Unresponsive(name.clone()))
        }
    };
    match stopped {
        Ok(()) => return Ok(()),
        Err(_) if force => {}
        // Down, whatever was answered.
        Err(_) if ends(registry, boot).await && is_gone(registry, boot).await => return Ok(()),
        // On its way down it is to stay there.
        Err(refusal @ OperatorRefusal::StillEnding(..)) => return Err(refusal),
        Err(refusal) => {
            if let Some(ordered) = ordered
                && let Err(error) = registry.notes.take_back(ordered)
            {
                tracing::error!(guest = %boot, %error, "a guest that is not stopped will not be started again, either");
            }
            noted.map_err(not_noted)?;
            return Err(refusal);
        }
    }
    // What it answered is not to be relied on: its QEMU may have taken it over.
    tracing::warn!(vm = name, "a guest that does not end is killed");
    kill(registry, boot, name.clone()).await?;
    noted.map_err(not_noted)?;
    if is_gone(registry, boot).await {
        Ok(())
    } else {
        Err(OperatorRefusal::StillEnding(name, FAREWELL.as_secs()))
    }
}

/// Asks the supervisor, and waits until its guest is gone.
async fn by_supervisor(
    registry: &Registry,
    guest: &Guest,
    force: bool,
) -> Result<(), OperatorRefusal> {
    let name = || guest.record.name.clone();
    // A supervisor that does not even say how its guest is will not stop it.
    let answered = match guest.supervisor.status().await {
        Ok(_) => guest.supervisor.stop(force).await.ok(),
        Err(_) => None,
    };
    match answered {
        Some(SupervisorReply::Done) if is_gone(registry, &guest.identity).await => Ok(()),
        Some(SupervisorReply::Done) => {
            Err(OperatorRefusal::StillEnding(name(), FAREWELL.as_secs()))
        }
        Some(SupervisorReply::Refused(why)) => Err(OperatorRefusal::Start(why)),
        Some(_) | None => Err(OperatorRefusal::Unresponsive(name())),
    }
}

/// Takes back what is wanted. A start that is under way ends at its next milestone, or has run by then: that guest is returned.
async fn cancel(
    registry: &Registry,
    pending: &Arc<Pending>,
    force: bool,
) -> Result<Option<Known>, OperatorRefusal> {
    pending.cancel();
    let (ordered, noted) = registry.notes.stop(pending.vm);
    if registry.leave_waiting(pending) {
        noted.map_err(not_noted)?;
        return Ok(None);
    }
    // Before its start is noted there is nothing to kill.
    if force && let Some(ordered) = ordered {
        kill(registry, &ordered.guest, pending.name.clone()).await?;
        noted.map_err(not_noted)?;
    }
    let give_up = Instant::now() + FAREWELL;
    loop {
        match registry.of(pending.vm) {
            Some(Known::Pending(other, _)) if Arc::ptr_eq(&other, pending) => {}
            Some(started @ (Known::Guest(_) | Known::Unheard(_))) => return Ok(Some(started)),
            Some(Known::Pending(..)) | None => return Ok(None),
        }
        if Instant::now() > give_up {
            let name = pending.name.clone();
            return Err(OperatorRefusal::StillEnding(name, FAREWELL.as_secs()));
        }
        sleep(RETRY).await;
    }
}

async fn kill(
    registry: &Registry,
    boot: &GuestIdentity,
    name: String,
) -> Result<(), OperatorRefusal> {
    let ended = force::end(registry, boot).await;
    ended.map_err(|error| match error {
        ForceError::Lingers => OperatorRefusal::StillEnding(name, force::DEADLINE.as_secs()),
        error => OperatorRefusal::Start(error.to_string()),
    })
}

/// Waits a moment for a boot that is about to end: its supervisor, which does not answer, may be gone, and its QEMU not yet.
async fn ends(registry: &Registry, boot: &GuestIdentity) -> bool {
    let give_up = Instant::now() + MOMENT;
    while !boot_has_ended(&registry.config, boot) {
        if Instant::now() > give_up {
            return false;
        }
        sleep(RETRY).await;
    }
    true
}

/// Waits until a boot has no place any more; another boot of the VM may have it then.
async fn is_gone(registry: &Registry, boot: &GuestIdentity) -> bool {
    let give_up = Instant::now() + FAREWELL;
    let has_place = || {
        let known = registry.of(Uuid::from_bytes(boot.vm));
        known.and_then(|known| known.boot()) == Some(*boot)
    };
    while has_place() {
        if Instant::now() > give_up {
            return false;
        }
        sleep(RETRY).await;
    }
    true
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn not_noted(error: StartedError) -> OperatorRefusal {
    OperatorRefusal::Start(error.to_string())
}
