//! The link to the launcher: standard input.

use std::io;
use std::os::unix::net::UnixStream;

use bartizan_boot::{CoordinatorAnswer, CoordinatorStep, Refusal};
use bartizan_local::{FrameError, inherited_link, read_frame, write_frame};

/// The launcher.
#[derive(Debug)]
pub struct Launcher(UnixStream);

/// The launcher did not do what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// There is no link.
    #[error(
        "standard input is no link to a launcher: {0}; this program is started by bartizan-launcher"
    )]
    NoLink(#[from] io::Error),
    /// The link failed.
    #[error("the link to the launcher: {0}")]
    Link(#[from] FrameError),
    /// The boot was stopped.
    #[error("the boot is stopped: {0}")]
    Stopped(Refusal),
}

impl Launcher {
    /// The launcher that started this process.
    pub fn of_this_process() -> Result<Self, LauncherError> {
        Ok(Self(inherited_link()?))
    }

    /// Has it take a step. `false` where the bundle has nothing for it.
    pub fn ask(&mut self, step: &CoordinatorStep) -> Result<bool, LauncherError> {
        write_frame(&mut self.0, step, CoordinatorStep::MAX_FRAME)?;
        match read_frame(&mut self.0, CoordinatorStep::MAX_FRAME)? {
            CoordinatorAnswer::Done => Ok(true),
            CoordinatorAnswer::Nothing => Ok(false),
            CoordinatorAnswer::Stopped(refusal) => Err(LauncherError::Stopped(refusal)),
        }
    }

    /// Says why the boot cannot go on.
    pub fn fail(&mut self, refusal: Refusal) -> Result<(), LauncherError> {
        let step = CoordinatorStep::Fail(refusal);
        Ok(write_frame(&mut self.0, &step, CoordinatorStep::MAX_FRAME)?)
    }
}
