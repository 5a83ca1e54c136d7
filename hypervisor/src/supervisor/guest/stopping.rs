//! Stopping the guest because somebody wants it.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Guest;

/// How long a guest has to switch itself off after the power button was pressed.
const POLITE: Duration = Duration::from_secs(60);

/// Who wants the guest to stop, and until when it may do so by itself.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    wanted: bool,
    deadline: Option<Instant>,
    /// Dropped when the guest has ended: that is the answer.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// Whether a guest that does not stop by itself is killed.
    then_kill: bool,
}

impl Stopping {
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl Guest<'_> {
    pub(super) async fn stop(&mut self, force: bool, answer: oneshot::Sender<Result<(), String>>) {
        self.stopping.waiting.push(answer);
        self.begin_stop(force).await;
    }

    /// The host shuts down, or an operator ends the supervisor.
    pub(super) async fn terminate(&mut self) {
        tracing::info!("asked to end: the guest is shut down");
        self.stopping.then_kill = true;
        self.begin_stop(false).await;
    }

    /// The guest did not switch itself off.
    pub(super) fn stop_is_late(&mut self) {
        self.stopping.deadline = None;
        if self.stopping.then_kill {
            self.attempt.qemu.kill();
            return;
        }
        self.stopping.wanted = false;
        for answer in self.stopping.waiting.drain(..) {
            let why = format!(
                "the guest did not switch itself off within {POLITE:?}; stop it with force"
            );
            let _ = answer.send(Err(why));
        }
    }

    async fn begin_stop(&mut self, force: bool) {
        self.stopping.wanted = true;
        if force {
            self.attempt.qemu.kill();
            return;
        }
        self.resume().await;
        if let Err(error) = self.attempt.qmp.power_down().await {
            tracing::warn!(%error, "the power button could not be pressed");
        }
        if self.stopping.deadline.is_none() {
            self.stopping.deadline = Some(Instant::now() + POLITE);
        }
    }
}

/// SIGTERM and SIGINT to the supervisor.
pub(super) struct Terminations(Option<(Signal, Signal)>);

impl Terminations {
    pub(super) fn listen() -> Self {
        let both = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        if let Err(error) = &both {
            tracing::warn!(%error, "signals are not listened to");
        }
        Self(both.ok())
    }

    /// Waits for one. Cancel safe.
    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            None => std::future::pending().await,
        }
    }
}
