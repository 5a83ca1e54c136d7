//! No two daemons have one `run_dir`: each would start what the other has started.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::supervisor::locks::locked;

/// How long a daemon before us may take to be gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// That this is the only daemon; as long as it is held.
#[derive(Debug)]
pub(super) struct Alone(#[expect(dead_code, reason = "held, for its lock")] File);

/// This daemon is not the only one.
#[derive(Debug, thiserror::Error)]
pub(super) enum AloneError {
    /// Another has the lock.
    #[error(
        "another daemon runs with this `run_dir` ({0}); stop it first, or give this one a `run_dir` of its own"
    )]
    Another(String),
    /// The lock cannot be had.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

impl Alone {
    /// Waits a moment for a daemon that ends.
    pub(super) async fn take(run_dir: &Path) -> Result<Self, AloneError> {
        Self::take_within(run_dir, FAREWELL).await
    }

    async fn take_within(run_dir: &Path, time: Duration) -> Result<Self, AloneError> {
        let path = run_dir.join("daemon.lock");
        let failed = |error| AloneError::Io(path.display().to_string(), error);
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        let locked = locked(&file, Instant::now() + time);
        if locked.await.map_err(failed)? {
            Ok(Self(file))
        } else {
            Err(AloneError::Another(run_dir.display().to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_one_and_its_successor_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let first = Alone::take(folder.path()).await.unwrap();
        let second = Alone::take_within(folder.path(), Duration::ZERO).await;
        assert!(matches!(second, Err(AloneError::Another(_))));
        let (third, ()) = tokio::join!(Alone::take(folder.path()), async { drop(first) });
        third.unwrap();
    }
}
