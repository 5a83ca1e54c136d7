//! A supervisor's life: prepare, attempt, retry what hangs, leave an ending.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use bartizan_attestation::host::{MAX_FRAME, OperatorRefusal};
use bartizan_local::{FrameError, write_frame};
use tokio::sync::{mpsc, watch};

use super::attempt::{Attempt, Plan, StartError};
use super::console::Console;
use super::control::{self, Control};
use super::enrolment::{Enrolment, EnrolmentError};
use super::guest::{Guest, Over};
use super::launcher::await_go;
use super::locks::{LockError, Locks};
use super::view::View;
use super::{Ending, StartReport, SupervisorConfig};
use crate::confinement::supervisor::confine;

/// A boot is tried so often.
const ATTEMPTS: u32 = 3;
/// Requests of the daemon's that may wait for the guest's task.
const ASKS: usize = 64;

/// A supervisor cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The guest was not started, as was reported.
    #[error("the guest was not started: {0}")]
    NotStarted(OperatorRefusal),
    /// The report cannot be written.
    #[error("the start cannot be reported: {0}")]
    Report(#[from] FrameError),
    /// The daemon has ended before it noted what is to be started.
    #[error("the guest was not started: the hypervisor has not noted its launch measurement: {0}")]
    Unnoted(io::Error),
    /// No launch secret can be made.
    #[error(transparent)]
    Secret(#[from] EnrolmentError),
    /// The guest's folder cannot be used.
    #[error("the guest's folder: {0}")]
    Folder(io::Error),
    /// Another attempt cannot be made.
    #[error("the boot cannot be tried again: {0}")]
    Retry(#[from] StartError),
}

/// Runs one boot of one guest to its end; `report` gets [`StartReport`]s, and `daemon` is where its answer comes from. To
/// be called on a runtime of one thread: the children die with the thread that started them.
pub async fn run(
    config: SupervisorConfig,
    daemon: &mut impl Read,
    report: &mut impl Write,
) -> Result<Ending, RunError> {
    let refused = match prepare(config).await {
        Ok(plan) => {
            let measurement = plan.prepared.measurement.clone();
            write_frame(report, &StartReport::Prepared { measurement }, MAX_FRAME)?;
            await_go(daemon).map_err(RunError::Unnoted)?;
            match start(plan).await {
                Ok(started) => {
                    write_frame(report, &StartReport::Ready, MAX_FRAME)?;
                    return started.finish().await;
                }
                Err(refusal) => refusal,
            }
        }
        Err(refusal) => refusal,
    };
    write_frame(report, &StartReport::Refused(refused.clone()), MAX_FRAME)?;
    Err(RunError::NotStarted(refused))
}

/// A guest that runs, and all that outlives one attempt.
struct Started {
    plan: Arc<Plan>,
    attempt: Attempt,
    console: Arc<Console>,
    enrolment: Enrolment,
    view: watch::Sender<View>,
    asks: mpsc::Receiver<control::Ask>,
    control: Control,
}

async fn prepare(config: SupervisorConfig) -> Result<Plan, OperatorRefusal> {
    let folder = &config.directory;
    own(folder)
        .map_err(|error| OperatorRefusal::Start(format!("{}: {error}", folder.display())))?;
    // Before anything of the guest is touched: another boot of it may not have ended.
    let locks = Locks::take(&config.directory)
        .await
        .map_err(|error| match error {
            LockError::Held(_) => OperatorRefusal::AlreadyRunning(config.guest.to_string()),
            error => OperatorRefusal::Start(error.to_string()),
        })?;
    Plan::new(config, locks)
}

/// Makes the supervisor's folder, its own, since it will give up the right to others' files.
fn own(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o711).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match fs::symlink_metadata(folder)?.uid() {
        owner if owner == rustix::process::geteuid().as_raw() => Ok(()),
        owner => Err(io::Error::other(format!(
            "it belongs to the user {owner}, who was the supervisors' once; remove it"
        ))),
    }
}

async fn start(plan: Plan) -> Result<Started, OperatorRefusal> {
    let refused = |error: &dyn std::error::Error| OperatorRefusal::Start(error.to_string());
    let plan = Arc::new(plan);
    // Its guest's files are open and hashed; none of a guest's bytes was interpreted yet.
    confine(&plan).map_err(|error| refused(&error))?;
    let console =
        Arc::new(Console::new(plan.config.console_log()).map_err(|error| refused(&error))?);
    let enrolment = Enrolment::new().map_err(|error| refused(&error))?;
    let attempt = Attempt::start(&plan, &console)
        .await
        .map_err(|error| refused(&error))?;
    let (view, seen) = watch::channel(View::INITIAL);
    let (ask, asks) = mpsc::channel(ASKS);
    let control = Control::serve(Arc::clone(&plan), Arc::clone(&console), seen, ask)
        .map_err(|error| refused(&error))?;
    Ok(Started {
        plan,
        attempt,
        console,
        enrolment,
        view,
        asks,
        control,
    })
}

impl Started {
    async fn finish(self) -> Result<Ending, RunError> {
        let Self {
            plan,
            mut attempt,
            console,
            mut enrolment,
            view,
            mut asks,
            control,
        } = self;
        let mut tries = 1;
        let outcome = loop {
            let guest = Guest::new(&plan, &console, attempt, &mut enrolment, &view, &mut asks)?;
            match guest.run().await {
                Over::Ended(ending) => break Ok(ending),
                Over::Hung if tries == ATTEMPTS => {
                    break Ok(Ending::Failed {
                        reason: format!("no sign of life in {ATTEMPTS} attempts; see console.log"),
                    });
                }
                Over::Hung => {
                    tries += 1;
                    tracing::warn!(tries, "the boot shows no sign of life; it is tried again");
                    console.restart();
                    match Attempt::start(&plan, &console).await {
                        Ok(next) => attempt = next,
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        let ending = match &outcome {
            Ok(ending) => ending.clone(),
            Err(error) => Ending::Failed {
                reason: error.to_string(),
            },
        };
        tracing::info!(?ending, "the guest has ended");
        ending
            .store(&plan.config.ending())
            .map_err(RunError::Folder)?;
        view.send_modify(|view| {
            *view = View {
                state: ending.state(),
                enrollment: view.enrollment.take(),
                ..View::INITIAL
            };
        });
        // The last state goes out before the watchers' channel ends.
        drop((view, asks));
        control.finish().await;
        Ok(outcome?)
    }
}
