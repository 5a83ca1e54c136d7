//! What becomes of guests that have ended.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::launch::RestartPolicy;
use uuid::Uuid;

use super::launch::Order;
use super::pending::Pending;
use super::registry::Registry;
use super::started::{Started, StartedError};
use super::watch::End;

/// Between two looks at a note that cannot be read, or not be judged before the card is asked.
const RETRY: Duration = Duration::from_secs(1);

impl Registry {
    /// What is due for a guest that has ended, and whose device was dismissed: it gives its place up, or waits there to be started again.
    pub(super) async fn restart_ended(self: Arc<Self>, ended: GuestIdentity) {
        let due = loop {
            match self.due(&ended).await {
                Ok(due) => break due,
                Err(error @ (StartedError::Io { .. } | StartedError::Unasked { .. })) => {
                    tracing::error!(guest = %ended, %error, "whether a guest is to be started again is not known yet");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    tracing::error!(guest = %ended, %error, "a guest that has ended is not started again");
                    break None;
                }
            }
        };
        let Some((order, started)) = due else {
            self.places().leave(&ended);
            return;
        };
        let pending = Pending::new(&order.verified.record);
        if self.places().wait(&ended, &pending).is_none() {
            return;
        }
        // An operator who stops it from now on finds that it waits.
        if self.notes.is_stopped(&started) {
            self.places().leave_waiting(&pending);
            return;
        }
        self.start_again(order, pending).await;
    }

    /// What is to be started again, by the daemon's note of its start and what its supervisor left; with that note.
    async fn due(&self, ended: &GuestIdentity) -> Result<Option<(Order, Started)>, StartedError> {
        let vm = Uuid::from_bytes(ended.vm);
        // What was started since is not what has ended.
        let is_due = |noted: &Started| noted.guest == *ended && !self.notes.is_stopped(noted);
        let Some(started) = self.notes.load(vm)?.filter(is_due) else {
            return Ok(None);
        };
        let verified = self.verified(&started).await?;
        let end = End::left_at(&self.config.boot_dir(vm).join("ending.json"));
        let wanted = match verified.record.restart {
            _ if end == End::Stopped => false,
            _ if end == End::Rebooted => true,
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => end == End::Failed,
            RestartPolicy::Always => true,
        };
        let order = Order {
            verified,
            signed: started.record.clone(),
            ordered_at_s: started.ordered_at_s,
            by_policy: true,
        };
        Ok(wanted.then_some((order, started)))
    }

    fn delay(&self, vm: Uuid) -> Duration {
        self.backoff().next(vm, Instant::now())
    }

    /// Boxed: a start watches the guest, whose end may start it again.
    fn start_again(
        self: Arc<Self>,
        order: Order,
        pending: Arc<Pending>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                tokio::time::sleep(self.delay(pending.vm)).await;
                // An operator may have stopped it.
                let Some(cid) = self.places().resume(&pending) else {
                    return;
                };
                let Err(refusal) = self.boot(&order, &pending, cid).await else {
                    return;
                };
                tracing::warn!(vm = pending.name, %refusal, "not restarted yet");
                if !self.places().wait_again(&pending) {
                    return;
                }
            }
        })
    }
}
