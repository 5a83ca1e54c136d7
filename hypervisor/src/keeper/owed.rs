//! Whether the machine owes somebody an answer, and since when: how one that hangs is told from one that has nothing to say, by the bytes
//! alone, which are TLS.
//!
//! On the link to the hypervisor whoever is outside pings, and a live enclave answers each; and it opens that link again soon after each of its
//! ends. So what it was told and has not answered, or an end after which there is no other link, is owed. What nobody listens for does not
//! count: where whoever is outside takes nothing, what the enclave has to say waits here.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Of one port. Before its first connection nothing is owed.
#[derive(Debug, Default)]
pub struct Owed(watch::Sender<State>);

#[derive(Clone, Copy, Default, Debug)]
struct State {
    since: Option<Instant>,
    /// Somebody waits for what it says.
    listens: bool,
}

impl Owed {
    /// Somebody waits for what it says.
    pub(super) fn listens(&self) {
        self.0.send_if_modified(|state| {
            state.listens = true;
            false
        });
    }

    /// It said something, or opened a connection.
    pub(super) fn heard(&self) {
        self.0.send_if_modified(|state| {
            state.listens = false;
            state.since.take().is_some()
        });
    }

    /// It is told something.
    pub(super) fn told(&self) {
        self.0
            .send_if_modified(|state| state.listens && state.owes());
    }

    /// Its connection has ended, whoever ended it.
    pub(super) fn ended(&self) {
        self.0.send_if_modified(State::owes);
    }

    /// Waits until something is owed for so long.
    pub(super) async fn for_long(&self, patience: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let since = changes.borrow_and_update().since;
            // INVARIANT: the sender is `self`.
            let _changed = match since {
                None => changes.changed().await,
                Some(since) => match timeout_at(since + patience, changes.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                },
            };
        }
    }
}

impl State {
    /// From now on, if not before; whether that is new.
    fn owes(&mut self) -> bool {
        let is_new = self.since.is_none();
        self.since.get_or_insert_with(Instant::now);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    async fn is_owed_for_long(owed: &Owed) -> bool {
        timeout(Duration::ZERO, owed.for_long(PATIENCE))
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_owed_since_the_first_of_it() {
        let owed = Owed::default();
        for _ in 0..PATIENCE.as_secs() {
            assert!(!is_owed_for_long(&owed).await);
            owed.listens();
            owed.told();
            advance(Duration::from_secs(1)).await;
        }
        assert!(is_owed_for_long(&owed).await);
        owed.heard();
        assert!(!is_owed_for_long(&owed).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_nothing_owes_nothing() {
        let owed = Owed::default();
        owed.listens();
        advance(PATIENCE * 100).await;
        assert!(!is_owed_for_long(&owed).await);
    }

    /// Known attack: who is outside takes nothing, and a machine that answers all the time is ended for it.
    #[tokio::test(start_paused = true)]
    async fn what_nobody_listens_for_is_not_owed() {
        let owed = Owed::default();
        owed.listens();
        owed.heard();
        owed.told();
        advance(PATIENCE * 100).await;
        assert!(!is_owed_for_long(&owed).await);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_end_another_connection_is_owed() {
        let owed = Owed::default();
        owed.ended();
        advance(PATIENCE / 2).await;
        assert!(!is_owed_for_long(&owed).await);
        advance(PATIENCE / 2).await;
        assert!(is_owed_for_long(&owed).await);
    }
}
