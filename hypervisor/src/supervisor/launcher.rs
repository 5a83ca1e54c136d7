//! How the daemon starts a supervisor.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bartizan_attestation::host::{MAX_FRAME, OperatorRefusal};
use bartizan_attestation::measurement::Digest;
use bartizan_local::{FrameError, read_frame};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::SupervisorConfig;
use super::config::ConfigError;
use crate::qemu::process::{User, as_user};

/// The supervisor's program, and whom it runs as.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorProgram {
    /// Its program.
    pub program: PathBuf,
    /// One user for all supervisors, which is no other process's. Every configuration names it; `None`, the daemon's own
    /// user, is for a daemon without the rights to become another.
    #[serde(deserialize_with = "named")]
    pub user: Option<User>,
}

fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<User>, D::Error> {
    User::deserialize(from).map(Some)
}

/// The one frame that a supervisor writes to its standard output.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum StartReport {
    /// The guest runs, the control socket serves.
    #[n(0)]
    Ready {
        /// The guest's launch measurement.
        #[n(0)]
        measurement: Digest,
    },
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
    /// Its start cannot be noted.
    #[error("the supervisor's start cannot be noted: {0}")]
    Note(String),
    /// It ended without a report.
    #[error(
        "the supervisor ended without a report ({0}); see supervisor.log in the guest's folder"
    )]
    NoReport(#[from] FrameError),
    /// It hangs.
    #[error("the supervisor did not report within {0:?}; it was left running")]
    TimedOut(Duration),
}

/// Starts a supervisor for its guest's folder, which must exist, and waits until its guest runs. It lives on when the
/// caller ends. `deadline` must allow for the hashing of the guest's disks.
///
/// It does nothing before its pid was `noted`: then it is given its configuration. Returns the pid, and the guest's
/// launch measurement.
pub async fn launch(
    program: &SupervisorProgram,
    config: &SupervisorConfig,
    deadline: Duration,
    noted: impl FnOnce(u32) -> Result<(), String>,
) -> Result<(u32, Digest), LaunchError> {
    let json = config.to_json()?;
    let mut child = spawn(program, config).map_err(|source| LaunchError::Spawn {
        program: program.program.display().to_string(),
        source,
    })?;
    let pid = child.id();
    let noted = noted(pid);
    let pipes = child.stdin.take().zip(child.stdout.take());
    // Reaps it whenever it ends; a thread that waits costs nothing else.
    std::thread::spawn(move || child.wait());
    // Without its configuration it ends at once.
    noted.map_err(LaunchError::Note)?;
    let Some((mut stdin, mut stdout)) = pipes else {
        return Err(FrameError::Closed.into());
    };
    let report = spawn_blocking(move || {
        // One that ended early has said why.
        let _ = stdin.write_all(&json);
        drop(stdin);
        read_frame::<StartReport>(&mut stdout, MAX_FRAME)
    });
    match timeout(deadline, report).await {
        Err(_) => Err(LaunchError::TimedOut(deadline)),
        Ok(Err(_)) => Err(FrameError::Closed.into()),
        Ok(Ok(report)) => match report? {
            StartReport::Ready { measurement } => Ok((pid, measurement)),
            StartReport::Refused(refusal) => Err(LaunchError::Refused(refusal)),
        },
    }
}

fn spawn(program: &SupervisorProgram, config: &SupervisorConfig) -> io::Result<Child> {
    let mut command = Command::new(&program.program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log(&config.directory.join("supervisor.log"))?);
    if let Some(user) = program.user {
        as_user(&mut command, user)?;
    }
    command.spawn()
}

/// A log for one boot; the last boot's is kept beside it. What guests print may be secret: for the owner only.
fn log(path: &Path) -> io::Result<File> {
    match fs::rename(path, path.with_extension("log.1")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
