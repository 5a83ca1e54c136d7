//! How the daemon starts a supervisor.
//!
//! What a later daemon must know of a boot is noted before the boot goes on, so that there is never a guest of which less is
//! known, whenever the daemon ends:
//!
//! ```text
//! daemon                          supervisor
//!   spawns it in its group ──────►  waits for its configuration
//!   notes who it is
//!   configuration          ──────►  hashes the guest's files
//!                          ◄──────  Prepared: the launch measurement
//!   notes the measurement
//!   GO                     ──────►  starts QEMU
//!                          ◄──────  Ready, or Refused in place of either
//! ```
//!
//! A daemon that ends closes the pipe, and with that a supervisor that waits for it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
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
use crate::cgroup::Cgroup;
use crate::measured_program::{Execution, MeasuredProgram};
use crate::qemu::process::{User, as_user, in_groups};

/// The supervisor's program, and whom it runs as.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorProgram {
    /// Its program.
    pub program: PathBuf,
    /// What it is made of, where the launcher measured it with its loader.
    #[serde(skip)]
    pub measured: Option<MeasuredProgram>,
    /// One user for all supervisors, which is no other process's. Every configuration names it; `None`, the daemon's own
    /// user, is for a daemon without the rights to become another.
    #[serde(deserialize_with = "named")]
    pub user: Option<User>,
}

fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<User>, D::Error> {
    User::deserialize(from).map(Some)
}

/// What a supervisor writes to its standard output, each in a frame.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum StartReport {
    /// The guest's files are hashed; QEMU is not started before the daemon answers that this is noted.
    #[n(0)]
    Prepared {
        /// The guest's launch measurement.
        #[n(0)]
        measurement: Digest,
    },
    /// The guest runs, the control socket serves.
    #[n(1)]
    Ready,
    /// The guest was not started; the supervisor has ended.
    #[n(2)]
    Refused(#[n(0)] OperatorRefusal),
}

/// What must be noted before a boot goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Milestone {
    /// There is a supervisor, of this pid, that knows nothing yet.
    Spawned(u32),
    /// The launch measurement is this; no guest runs yet.
    Prepared(Digest),
}

/// The byte by which a supervisor is told that its guest's launch measurement is noted.
const GO: u8 = b'!';

/// A supervisor's side: waits until the daemon has noted the launch measurement.
///
/// # Errors
///
/// The daemon has ended, or says something else: QEMU must not be started.
pub(super) fn await_go(from: &mut impl Read) -> io::Result<()> {
    let mut said = [0];
    from.read_exact(&mut said)?;
    if said == [GO] {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
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
    /// It reports something else than is due.
    #[error("the supervisor reported something else than it should")]
    Unexpected,
    /// It ended without a report.
    #[error(
        "the supervisor ended without a report ({0}); see supervisor.log in the guest's folder"
    )]
    NoReport(#[from] FrameError),
    /// It hangs.
    #[error("the supervisor did not report within {0:?}; its guest is taken up if it starts yet")]
    TimedOut(Duration),
}

/// Starts a supervisor in its guest's control group, for its guest, whose folder must exist, and waits until its guest
/// runs. It lives on when the caller ends. `deadline` must allow for the hashing of the guest's disks.
///
/// Each milestone is to be noted: where that fails the supervisor ends, and nothing was started. Returns its pid.
pub async fn launch(
    program: &SupervisorProgram,
    config: &SupervisorConfig,
    group: &Cgroup,
    deadline: Duration,
    mut note: impl FnMut(Milestone) -> Result<(), String>,
) -> Result<u32, LaunchError> {
    let json = config.to_json()?;
    let mut child = spawn(program, config, group).map_err(|source| LaunchError::Spawn {
        program: program.program.display().to_string(),
        source,
    })?;
    let pid = child.id();
    let noted = note(Milestone::Spawned(pid));
    let pipes = child.stdin.take().zip(child.stdout.take());
    // Reaps it whenever it ends; a thread that waits costs nothing else.
    std::thread::spawn(move || child.wait());
    // Without its configuration it ends at once, and later without the byte.
    noted.map_err(LaunchError::Note)?;
    let (stdin, stdout) = pipes.ok_or(FrameError::Closed)?;
    let dialogue = async {
        let pipes = Pipes { stdin, stdout };
        let (pipes, report) = pipes.say(json).await?;
        let measurement = match report {
            StartReport::Prepared { measurement } => measurement,
            StartReport::Refused(refusal) => return Err(LaunchError::Refused(refusal)),
            StartReport::Ready => return Err(LaunchError::Unexpected),
        };
        note(Milestone::Prepared(measurement)).map_err(LaunchError::Note)?;
        match pipes.say(vec![GO]).await?.1 {
            StartReport::Ready => Ok(pid),
            StartReport::Refused(refusal) => Err(LaunchError::Refused(refusal)),
            StartReport::Prepared { .. } => Err(LaunchError::Unexpected),
        }
    };
    let started = timeout(deadline, dialogue).await;
    started.unwrap_or(Err(LaunchError::TimedOut(deadline)))
}

/// To a supervisor and from it.
struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Pipes {
    /// What it reports next, once it was told something.
    async fn say(mut self, words: Vec<u8>) -> Result<(Self, StartReport), FrameError> {
        let said = spawn_blocking(move || {
            // One that ended early has said why.
            let _ = self.stdin.write_all(&words);
            let report = read_frame(&mut self.stdout, MAX_FRAME)?;
            Ok((self, report))
        });
        said.await.unwrap_or(Err(FrameError::Closed))
    }
}

fn spawn(
    program: &SupervisorProgram,
    config: &SupervisorConfig,
    group: &Cgroup,
) -> io::Result<Child> {
    let execution = match &program.measured {
        Some(measured) => measured.execution("bartizan-supervisor"),
        None => Execution::of_path(&program.program),
    };
    let mut command = Command::new(execution.program);
    command
        .args(execution.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log(&config.log())?);
    in_groups(&mut command, group.process_files()?);
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
