//! How the service ends: told to, or because a task has failed without which it is none; either way what was begun is done first.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

#[cfg(test)]
mod tests;

/// How long what was begun may take to be ended once no connection is left. With the time that connections may take before, and blocked
/// threads after, it is less than the 90 s after which systemd kills.
const LAST_WORK: Duration = Duration::from_secs(60);
/// Between two looks whether somebody still holds the service.
const LOOK: Duration = Duration::from_millis(10);

/// The tasks that run as long as the service does.
#[derive(Debug)]
pub(crate) struct Tasks {
    /// One for each listener; they end when they are told to.
    pub(crate) listeners: JoinSet<()>,
    /// Writes verdicts; ends with the last who could hand it one.
    pub(crate) verdict_writer: Task,
    /// Replaces keys, for ever.
    pub(crate) rotating: Task,
}

/// One task, until its end was seen.
#[derive(Debug)]
pub(crate) struct Task(Option<JoinHandle<()>>);

impl From<JoinHandle<()>> for Task {
    fn from(task: JoinHandle<()>) -> Self {
        Self(Some(task))
    }
}

impl Task {
    /// Waits for its end; what was seen before is not told again.
    async fn ended(&mut self) -> Result<(), JoinError> {
        let Some(task) = &mut self.0 else {
            return Ok(());
        };
        let ended = task.await;
        self.0 = None;
        ended
    }

    async fn abort(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
        let _aborted = self.ended().await;
    }
}

/// A task failed, by a fault of this program's own.
#[derive(Debug, thiserror::Error)]
#[error(
    "the task that {task} failed by a fault of this program's own: {error}; start it again, and tell whoever maintains it"
)]
pub struct TaskFailed {
    /// What it does.
    task: &'static str,
    /// How.
    error: JoinError,
}

impl Tasks {
    /// Waits for the end. Without one of its tasks the service would not be reached, refuse what it should record, or serve with keys
    /// that nobody replaces: it ends as well, and whoever started it sees why.
    pub(crate) async fn until(&mut self, end: impl Future<Output = ()>) -> Result<(), TaskFailed> {
        tokio::select! {
            biased;
            ended = self.verdict_writer.ended() => of("writes verdicts", ended),
            ended = self.rotating.ended() => of("replaces keys", ended),
            Some(ended) = self.listeners.join_next() => of("serves", ended),
            () = end => Ok(()),
        }
    }

    /// Ends them, the listeners having been told: first those that bring work, then, once nobody holds the service any more, the one that
    /// records it; last of all `close`.
    pub(crate) async fn end<S>(
        mut self,
        service: Arc<S>,
        close: impl Future<Output = ()>,
    ) -> Result<(), TaskFailed> {
        let mut served = Ok(());
        while let Some(ended) = self.listeners.join_next().await {
            served = served.and(of("serves", ended));
        }
        self.rotating.abort().await;
        // What changes something is ended though its client is gone: each such task holds the service, and the service the verdict log.
        let held = Arc::downgrade(&service);
        drop(service);
        let last_work = async {
            until_unheld(&held).await;
            // Nobody is left who could hand it more: it finishes.
            let written = of("writes verdicts", self.verdict_writer.ended().await);
            close.await;
            written
        };
        served.and(in_time(last_work).await.unwrap_or(Ok(())))
    }
}

fn of(task: &'static str, ended: Result<(), JoinError>) -> Result<(), TaskFailed> {
    ended.map_err(|error| {
        let failed = TaskFailed { task, error };
        tracing::error!(%failed);
        failed
    })
}

async fn until_unheld<S>(held: &Weak<S>) {
    while held.strong_count() > 0 {
        sleep(LOOK).await;
    }
}

/// Waits for what was begun, and gives it up in the end: a vault that does not answer has it take as long as there are tasks that ask.
async fn in_time<T>(last_work: impl Future<Output = T>) -> Option<T> {
    let seconds = LAST_WORK.as_secs();
    tracing::info!(seconds, "waiting for what was begun");
    let done = timeout(LAST_WORK, last_work).await.ok();
    if done.is_none() {
        tracing::warn!(
            seconds,
            "what was begun has not ended and is given up; what operators had done lately may be done or not, and may not be logged: look"
        );
    }
    done
}
