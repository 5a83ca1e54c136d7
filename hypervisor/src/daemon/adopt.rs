//! A new daemon finds the guests of a former one.

use std::sync::Arc;

use uuid::Uuid;

use super::ended::has_ended;
use super::registry::Registry;
use super::started::StartedError;

impl Registry {
    /// Gives all boots that have not ended their places, and their devices what was admitted; whoever has ended is started again by
    /// policy. Before devices hear of any, and before anybody can be started: UUIDs, names and CIDs of those that run are taken by then.
    ///
    /// # Errors
    ///
    /// A note cannot be read: a guest that runs unknown would lose its device, and another get its CID.
    pub(super) fn find_all(self: &Arc<Self>) -> Result<Vec<Uuid>, StartedError> {
        let noted = self.notes.all()?;
        for vm in &noted {
            self.notes.load(*vm)?;
        }
        let (ended, running): (Vec<_>, Vec<_>) =
            (noted.into_iter()).partition(|vm| has_ended(&self.config, *vm));
        let running = (running.into_iter())
            .filter(|vm| self.place_unheard(*vm, None))
            .collect();
        for vm in ended {
            tracing::info!(%vm, "not running any more");
            tokio::spawn(Arc::clone(self).restart_ended(vm));
        }
        Ok(running)
    }

    /// Takes up the guests whose supervisors outlived the daemon before us.
    pub(super) async fn adopt(self: &Arc<Self>, running: Vec<Uuid>) {
        // All at once: each that does not answer takes its time.
        let tried: Vec<_> = running
            .into_iter()
            .map(|vm| tokio::spawn(Arc::clone(self).adopt_one(vm)))
            .collect();
        for one in tried {
            if let Err(error) = one.await {
                tracing::error!(%error, "a guest was not looked at");
            }
        }
    }

    async fn adopt_one(self: Arc<Self>, vm: Uuid) {
        match self.take_up(vm).await {
            Ok(status) => tracing::info!(guest = %status.guest, "taken up again"),
            Err(error) => {
                tracing::warn!(%vm, %error, "not taken up yet");
                tokio::spawn(self.until_heard(vm));
            }
        }
    }
}
