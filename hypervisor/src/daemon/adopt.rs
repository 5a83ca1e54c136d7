//! A new daemon finds the guests of a former one.

use std::sync::Arc;

use bartizan_attestation::identity::GuestIdentity;
use uuid::Uuid;

use super::ended::boot_has_ended;
use super::registry::Registry;
use super::started::StartedError;

impl Registry {
    /// Gives all boots that have not ended their places, and their devices what was admitted; whoever has ended is started again by
    /// policy. Before devices hear of any, and before anybody can be started: UUIDs, names and CIDs of those that run are taken by then.
    ///
    /// # Errors
    ///
    /// A note cannot be read: a guest that runs unknown would lose its device, and another get its CID.
    pub(super) fn find_all(self: &Arc<Self>) -> Result<Vec<GuestIdentity>, StartedError> {
        let noted = self.notes.all()?.into_iter();
        let noted: Result<Vec<_>, _> = noted.map(|vm| self.notes.load(vm)).collect();
        let boots = noted?.into_iter().flatten().map(|started| started.guest);
        let (ended, running): (Vec<_>, Vec<_>) =
            boots.partition(|boot| boot_has_ended(&self.config, boot));
        let running = (running.into_iter())
            .filter(|boot| {
                self.place_unheard(Uuid::from_bytes(boot.vm), None)
                    .is_some()
            })
            .collect();
        for boot in ended {
            tracing::info!(guest = %boot, "not running any more");
            tokio::spawn(Arc::clone(self).restart_ended(boot));
        }
        Ok(running)
    }

    /// Takes up the guests whose supervisors outlived the daemon before us.
    pub(super) async fn adopt(self: &Arc<Self>, running: Vec<GuestIdentity>) {
        // All at once: each that does not answer takes its time.
        let tried: Vec<_> = running
            .into_iter()
            .map(|boot| tokio::spawn(Arc::clone(self).adopt_one(boot)))
            .collect();
        for one in tried {
            if let Err(error) = one.await {
                tracing::error!(%error, "a guest was not looked at");
            }
        }
    }

    async fn adopt_one(self: Arc<Self>, boot: GuestIdentity) {
        match self.take_up(Uuid::from_bytes(boot.vm)).await {
            Ok(status) => tracing::info!(guest = %status.guest, "taken up again"),
            Err(error) => {
                tracing::warn!(guest = %boot, %error, "not taken up yet");
                tokio::spawn(self.until_heard(boot));
            }
        }
    }
}
