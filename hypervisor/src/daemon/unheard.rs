//! Guests that have not ended, by their locks, and whose supervisor this daemon has not heard yet: it may be starting,
//! stopped or starved. The daemon goes on trying, and starts nothing beside them.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::host::{GuestState, GuestSummary};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::launch::VerifiedRecord;
use uuid::Uuid;

use super::claim::Claim;
use super::ended::boot_has_ended;
use super::pending::Pending;
use super::registry::Registry;
use super::started::Started;

/// Between two tries to reach a supervisor: doubled from the first to the last.
pub(super) const RETRY: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));

/// What was noted of a guest when it was started.
#[derive(Debug)]
pub(super) struct Unheard {
    pub(super) identity: GuestIdentity,
    /// Its UUID where its record cannot be verified any more.
    pub(super) name: String,
    role: String,
    pub(super) cid: u32,
    pub(super) claim: Option<Claim>,
}

impl Unheard {
    /// Whatever its record is worth, it has its UUID and its CID until it has ended.
    fn of(started: &Started, fleet_ca: &FleetCa) -> Self {
        let (name, role) = match started.verify(fleet_ca) {
            Ok(VerifiedRecord { record, .. }) => (record.name, record.role),
            Err(error) => {
                let vm = started.vm();
                tracing::error!(%vm, %error, "a guest runs that is not taken up; end it with `bartizan vm stop --force`");
                (vm.to_string(), String::new())
            }
        };
        Self {
            identity: started.guest,
            name,
            role,
            cid: started.cid,
            claim: Claim::of(started.vm(), started.network.as_ref()),
        }
    }

    pub(super) fn summary(&self) -> GuestSummary {
        GuestSummary {
            name: self.name.clone(),
            guest: self.identity.to_string(),
            role: self.role.clone(),
            state: GuestState::Unresponsive,
            enrolled: false,
        }
    }
}

impl Registry {
    /// Gives a guest that has not ended its place, that of its start if there was one, and takes it up as soon as its supervisor
    /// answers.
    pub(super) fn wait_for(self: &Arc<Self>, vm: Uuid, start: Option<&Arc<Pending>>) {
        if let Some(boot) = self.place_unheard(vm, start) {
            tracing::warn!(guest = %boot, "a guest that has not ended does not answer");
            tokio::spawn(Arc::clone(self).until_heard(boot));
        }
    }

    /// Gives a guest the place of one that was not heard: that of its start, or one if it has none. Which boot has that now.
    pub(super) fn place_unheard(
        &self,
        vm: Uuid,
        start: Option<&Arc<Pending>>,
    ) -> Option<GuestIdentity> {
        let started = match self.notes.load(vm) {
            Ok(started) => started?,
            Err(error) => {
                tracing::error!(%vm, %error, "a guest runs of which nothing is known; end it by hand");
                return None;
            }
        };
        let unheard = Arc::new(Unheard::of(&started, &self.anchors.ca()));
        let placed = self.places().put_unheard(vm, start, unheard);
        placed.then(|| {
            self.admit_again(&started);
            started.guest
        })
    }

    /// Boxed: who is heard is watched, and its end may start it again.
    pub(super) fn until_heard(
        self: Arc<Self>,
        boot: GuestIdentity,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let vm = Uuid::from_bytes(boot.vm);
            let mut delay = RETRY.0;
            loop {
                tokio::time::sleep(delay).await;
                if boot_has_ended(&self.config, &boot) {
                    self.dismiss(vm);
                    return self.restart_ended(boot).await;
                }
                match self.take_up(vm).await {
                    Ok(status) => {
                        tracing::info!(guest = %status.guest, "answers again; taken up");
                        return;
                    }
                    Err(error) => tracing::debug!(%vm, %error, "does not answer"),
                }
                delay = (delay * 2).min(RETRY.1);
            }
        })
    }
}
