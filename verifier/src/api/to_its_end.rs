//! What changes something is ended, and logged, whether or not its client stays: a request's own future is dropped with its connection.

use std::panic::resume_unwind;

use axum::http::StatusCode;
use tokio::task::JoinError;

use crate::problem::{Problem, ProblemType};

/// It was not ended.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    /// The service is ending.
    #[error(
        "the verifier is shutting down, and whether it was done is not known; look, and try again"
    )]
    Stopped,
}

impl ProblemType for TaskError {
    fn kind(&self) -> (&'static str, StatusCode) {
        ("stopping", StatusCode::SERVICE_UNAVAILABLE)
    }

    fn retry_after_s(&self) -> Option<u64> {
        Some(1)
    }
}

/// Does `work` as a task of its own. What it needs, its memory's share among that, goes with it.
pub(super) async fn to_its_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem>,
{
    // A problem is logged where it is made: by the task too.
    let task = tokio::spawn(async { work.await.map_err(Into::into) });
    match task.await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => Err(TaskError::Stopped.into()),
    }
}
