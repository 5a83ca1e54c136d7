//! How the machine is: kept here, and told to the card, over a link that is opened again for as long as this runs. The card hears the last
//! state only; nothing waits for it.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_attestation::host::{KEEPER_FRAME, MachineState, OpenLinks, Use};
use bartizan_local::{FrameError, aio};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::config::Config;
use super::group::Limits;
use crate::cgroup::Cgroup;
use crate::clock::unix_now;

/// How often the card is told though nothing has changed: memory and CPU time do.
const PERIOD: Duration = Duration::from_secs(5);
/// Pause before a card that is away is told again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the card may take to read what it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the machine is.
#[derive(Clone, Debug)]
pub struct Status {
    state: Arc<watch::Sender<MachineState>>,
    /// Of the present run.
    group: Arc<Mutex<Option<Cgroup>>>,
    limits: Limits,
    ram_mib: u32,
}

/// QEMU runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running<'s>(&'s Status);

impl Status {
    /// The machine was never started.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            state: Arc::new(watch::Sender::new(MachineState::default())),
            group: Arc::default(),
            limits: config.limits,
            ram_mib: config.memory_mib,
        }
    }

    /// A run begins, in this group.
    pub(super) fn starts(&self, group: &Cgroup) -> Running<'_> {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group.clone());
        self.state.send_modify(|state| {
            state.since_s = Some(unix_now());
            state.starts += 1;
        });
        Running(self)
    }

    /// A link was opened, or has ended.
    pub(super) fn link(&self, turn: impl FnOnce(&mut OpenLinks)) {
        self.state.send_modify(|state| turn(&mut state.links));
    }

    /// How it is now.
    fn now(&self) -> MachineState {
        let mut state = *self.state.borrow();
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let used = group.as_ref().map(Cgroup::used).unwrap_or_default();
        let memory_mib = u64::from(self.ram_mib) + u64::from(self.limits.memory_mib);
        state.use_of = Use {
            memory_limit: Some(memory_mib << 20),
            threads_limit: Some(self.limits.pids.into()),
            cpu_limit: Some(self.limits.cpu_percent.into()),
            memory: used.memory,
            threads: used.threads,
            cpu_ms: used.cpu_ms,
        };
        state
    }

    /// Tells the card at this socket, for ever; nobody where there is none.
    pub(super) async fn keep_told(&self, card: Option<&Path>) -> Infallible {
        let Some(card) = card else {
            return std::future::pending().await;
        };
        let mut changes = self.state.subscribe();
        loop {
            if let Ok(mut link) = UnixStream::connect(card).await {
                let ended = self.tell(&mut link, &mut changes).await;
                tracing::debug!(error = %ended, "the card does not hear how the enclave is");
            }
            sleep(RETRY).await;
        }
    }

    async fn tell(
        &self,
        link: &mut UnixStream,
        changes: &mut watch::Receiver<MachineState>,
    ) -> FrameError {
        loop {
            changes.mark_unchanged();
            let now = self.now();
            let telling = aio::write_frame(link, &now, KEEPER_FRAME);
            match timeout(PATIENCE, telling).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(late) => return FrameError::Io(late.into()),
            }
            // INVARIANT: the sender is in `self`.
            let _due = timeout(PERIOD, changes.changed()).await;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let group = &self.0.group;
        *group.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.state.send_modify(|state| {
            state.since_s = None;
            state.links = OpenLinks::default();
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn status() -> Status {
        Status {
            state: Arc::new(watch::Sender::new(MachineState::default())),
            group: Arc::default(),
            limits: Limits::default(),
            ram_mib: 128,
        }
    }

    /// The next state that is like that.
    async fn until(link: &mut UnixStream, like: impl Fn(&MachineState) -> bool) -> MachineState {
        let reading = async {
            loop {
                let state = aio::read_frame(link, KEEPER_FRAME).await.unwrap();
                if like(&state) {
                    return state;
                }
            }
        };
        timeout(DEADLINE, reading).await.unwrap()
    }

    #[tokio::test]
    async fn the_card_hears_each_change_also_after_it_was_away() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("status.sock");
        let (status, path) = (status(), socket.clone());
        let telling = status.clone();
        tokio::spawn(async move { telling.keep_told(Some(&path)).await });
        let running = status.starts(&Cgroup::default());
        let listener = UnixListener::bind(&socket).unwrap();
        let (mut card, _) = listener.accept().await.unwrap();
        let state = until(&mut card, |state| state.starts == 1).await;
        assert!(state.since_s.is_some());
        assert_eq!(state.use_of.memory_limit, Some((128 + 192) << 20));
        assert_eq!(
            (state.use_of.threads_limit, state.use_of.threads),
            (Some(64), None)
        );
        status.link(|links| links.verifier = true);
        let state = until(&mut card, |state| state.links.verifier).await;
        assert!(!state.links.card);
        drop(card);
        drop(running);
        let (mut card, _) = listener.accept().await.unwrap();
        let state = until(&mut card, |state| state.since_s.is_none()).await;
        assert_eq!((state.starts, state.links), (1, OpenLinks::default()));
    }
}
