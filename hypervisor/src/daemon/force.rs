//! Ending a guest whose supervisor does not answer.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::unheard::has_ended;
use crate::supervisor::{Ending, locks};

/// How long the kernel may take to end what was killed.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);

/// A guest could not be ended by force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForceError {
    /// Its folder cannot be used.
    #[error("the guest's folder: {0}")]
    Folder(#[from] std::io::Error),
    /// The supervisor cannot be killed.
    #[error("its supervisor cannot be killed: {0}")]
    Kill(rustix::io::Errno),
    /// Something of it is still there.
    #[error("it has not ended within {DEADLINE:?}")]
    Lingers,
}

/// Kills the supervisor of a guest's folder, with which the kernel kills its children, and waits until nothing of the
/// boot is left. It counts as stopped by an operator: no policy starts it again.
pub(super) async fn end(folder: &Path) -> Result<(), ForceError> {
    let give_up = Instant::now() + DEADLINE;
    loop {
        if let Some(pidfd) = locks::supervisor(folder)? {
            Ending::Stopped.store(&folder.join("ending.json"))?;
            match pidfd_send_signal(&pidfd, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(ForceError::Kill(error)),
            }
        }
        if has_ended(folder) {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(ForceError::Lingers);
        }
        sleep(RETRY).await;
    }
}
