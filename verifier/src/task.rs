//! Work that is handed to others: what changes something to a task of its own, which ends and logs it whether or not its client
//! stays, since a request's own future is dropped with its connection; what takes the processor, or waits for the vault, to a thread.

use axum::http::StatusCode;
use tokio::task::{JoinError, spawn_blocking};

use crate::memory::Share;
use crate::problem::{Problem, ProblemType};

#[cfg(test)]
mod tests;

/// The work was not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TaskError {
    /// By a fault of this program's own, which the same request is likely to meet again.
    #[error(
        "the verifier failed by a fault of its own, and whether it was done is not known; look, tell whoever runs it, and do not send the same again"
    )]
    Panicked,
    /// The service is ending.
    #[error(
        "the verifier is shutting down, and whether it was done is not known; look, and try again"
    )]
    Stopped,
}

impl From<JoinError> for TaskError {
    fn from(error: JoinError) -> Self {
        if error.is_panic() {
            tracing::error!(%error, "a fault of the verifier's own");
            Self::Panicked
        } else {
            Self::Stopped
        }
    }
}

impl ProblemType for TaskError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Panicked => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Stopped => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        matches!(self, Self::Stopped).then_some(1)
    }
}

/// Does `work` as a task of its own, which holds the request's share of the memory to its end: whoever asks and goes away, again and
/// again, has no more tasks than the memory is worth.
pub async fn to_its_end<T, E>(
    share: Share,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem>,
{
    let (done, _share) = to_its_end_and_sent(share, work).await?;
    Ok(done)
}

/// The same, for an answer that takes that memory until it was sent: gives the share back with it.
pub async fn to_its_end_and_sent<T, E>(
    share: Share,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<(T, Share), Problem>
where
    T: Send + 'static,
    E: Into<Problem>,
{
    let task = tokio::spawn(async {
        // A problem is logged where it is made: by the task too.
        let done = work.await.map_err(Into::into);
        done.map(|done| (done, share))
    });
    task.await.map_err(TaskError::from)?
}

/// Does `work` on a thread of its own, beside what serves others.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskError> {
    Ok(spawn_blocking(work).await?)
}
