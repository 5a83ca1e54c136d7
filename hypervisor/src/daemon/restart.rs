//! What becomes of guests that have ended.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::launch::RestartPolicy;
use uuid::Uuid;

use super::launch::Order;
use super::pending::Pending;
use super::registry::Registry;
use super::started::Started;
use super::watch::End;

/// First delay before a restart; doubled up to [`MAX_DELAY`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

impl Registry {
    /// What is due for a guest that has ended, and whose device was dismissed: it gives its place up, or waits there to be started again.
    pub(super) async fn restart_ended(self: Arc<Self>, vm: Uuid) {
        let Some(order) = self.due(vm) else {
            self.places().leave(vm);
            return;
        };
        let pending = Pending::new(&order.verified.record);
        if self.places().wait(&pending).is_some() {
            self.start_again(order, pending).await;
        }
    }

    /// What is to be started again, by the daemon's note of its start and what its supervisor left.
    fn due(&self, vm: Uuid) -> Option<Order> {
        let noted = self.notes.load(vm).and_then(|started| {
            let running = started.filter(|started| !self.notes.is_stopped(started));
            let verified = |started: Started| Ok((started.verify(&self.fleet_ca)?, started));
            running.map(verified).transpose()
        });
        let (verified, started) = match noted {
            Ok(noted) => noted?,
            Err(error) => {
                tracing::error!(%vm, %error, "a guest that has ended is not started again");
                return None;
            }
        };
        let end = End::left_at(&self.config.boot_dir(vm).join("ending.json"));
        let wanted = match verified.record.restart {
            _ if end == End::Stopped => false,
            _ if end == End::Rebooted => true,
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => end == End::Failed,
            RestartPolicy::Always => true,
        };
        wanted.then_some(Order {
            verified,
            signed: started.record,
            ordered_at_s: started.ordered_at_s,
            by_policy: true,
        })
    }

    /// Boxed: a start watches the guest, whose end may start it again.
    fn start_again(
        self: Arc<Self>,
        order: Order,
        pending: Arc<Pending>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut delay = FIRST_DELAY;
            loop {
                tokio::time::sleep(delay).await;
                // An operator may have stopped it.
                let Some(cid) = self.places().resume(&pending) else {
                    return;
                };
                let Err(refusal) = self.boot(&order, &pending, cid).await else {
                    return;
                };
                tracing::warn!(vm = pending.name, %refusal, ?delay, "not restarted yet");
                if !self.places().wait_again(&pending) {
                    return;
                }
                delay = (delay * 2).min(MAX_DELAY);
            }
        })
    }
}
