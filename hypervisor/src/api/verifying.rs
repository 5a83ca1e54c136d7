//! Verifying what a guest signed: work that the guest chooses, on no thread that serves the others.

use axum::http::StatusCode;
use tokio::task::spawn_blocking;

use super::Problem;
use crate::daemon::Guest;

/// Has `verify` done apart from the threads that serve, one at a time for each guest: one that floods waits for itself.
pub(super) async fn apart<T, E>(
    guest: &Guest,
    verify: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    let failed = |why: String| Problem::new(StatusCode::BAD_GATEWAY, "host-internal", why);
    let turn = guest.verifying.acquire().await;
    let _turn = turn.map_err(|error| failed(error.to_string()))?;
    match spawn_blocking(verify).await {
        Ok(verified) => verified.map_err(Into::into),
        Err(error) => Err(failed(error.to_string())),
    }
}
