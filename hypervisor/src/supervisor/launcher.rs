//! How the daemon starts a supervisor.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bartizan_attestation::host::{MAX_FRAME, OperatorRefusal};
use bartizan_local::{FrameError, read_frame};
use minicbor::{Decode, Encode};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::SupervisorConfig;
use super::config::ConfigError;

/// The one frame that a supervisor writes to its standard output.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum StartReport {
    /// The guest runs, the control socket serves.
    #[n(0)]
    Ready,
    /// The guest was not started; the supervisor has ended.
    #[n(1)]
    Refused(#[n(0)] OperatorRefusal),
}

/// A guest could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The supervisor says why.
    #[error(transparent)]
    Refused(OperatorRefusal),
    /// Its configuration cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot be executed.
    #[error("the supervisor {program} cannot be started: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended without a report.
    #[error(
        "the supervisor ended without a report ({0}); see supervisor.log in the guest's folder"
    )]
    NoReport(#[from] FrameError),
    /// It hangs.
    #[error("the supervisor did not report within {0:?}; it was left running")]
    TimedOut(Duration),
}

/// Starts a supervisor in its guest's folder, which must exist, and waits until its guest runs. It lives
/// on when the caller ends. `deadline` must allow for the hashing of the guest's disks.
///
/// Returns the supervisor's pid.
pub async fn launch(
    program: &Path,
    config: &SupervisorConfig,
    deadline: Duration,
) -> Result<u32, LaunchError> {
    let failed = |source| LaunchError::Spawn {
        program: program.display().to_string(),
        source,
    };
    let path = config.store()?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(config.directory.join("supervisor.log"))
        .map_err(failed)?;
    let mut child = Command::new(program)
        .arg("--config")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let pid = child.id();
    let stdout = child.stdout.take();
    // Reaps it whenever it ends; a thread that waits costs nothing else.
    std::thread::spawn(move || child.wait());
    let Some(mut stdout) = stdout else {
        return Err(FrameError::Closed.into());
    };
    let report = spawn_blocking(move || read_frame::<StartReport>(&mut stdout, MAX_FRAME));
    match timeout(deadline, report).await {
        Err(_) => Err(LaunchError::TimedOut(deadline)),
        Ok(Err(_)) => Err(FrameError::Closed.into()),
        Ok(Ok(report)) => match report? {
            StartReport::Ready => Ok(pid),
            StartReport::Refused(refusal) => Err(LaunchError::Refused(refusal)),
        },
    }
}
