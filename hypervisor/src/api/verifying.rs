//! Verifying what a guest signed: work that the guest chooses, on no thread that serves the others.

use std::sync::Arc;

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
    let turn = Arc::clone(&guest.verifying).acquire_owned().await;
    let turn = turn.map_err(|error| failed(error.to_string()))?;
    // Held until the work is done, even if whoever asked hangs up.
    let in_turn = move || {
        let verified = verify();
        drop(turn);
        verified
    };
    match spawn_blocking(in_turn).await {
        Ok(verified) => verified.map_err(Into::into),
        Err(error) => Err(failed(error.to_string())),
    }
}
