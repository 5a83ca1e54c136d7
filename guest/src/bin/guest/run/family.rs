//! The started program with everything that it started.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::descendant::Descendant;
use super::events::Events;
use super::processes::{self, descendants};
use super::program::{Program, ProgramError};
use super::user::User;

/// How long what was killed may take to be gone.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// When to look again for what was started while others were killed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Processes that this tool answers for.
pub(super) struct Family {
    /// The process that was started.
    first: u32,
    /// The process whose exit code counts: the first, or the daemon that it became.
    main: Option<u32>,
    code: u8,
    code_of_first: Option<u8>,
    gone: bool,
}

/// The processes could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum FamilyError {
    /// The program did not start.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The kernel refused to make this process a subreaper.
    #[error("this process cannot become the reaper of what it starts: {0}")]
    Subreaper(Errno),
    /// /proc cannot be read.
    #[error("/proc cannot be read: {0}; what was started may still run, end it by hand")]
    Processes(#[from] io::Error),
    /// Some are still there.
    #[error("processes {0:?} do not end although they were killed; end them by hand")]
    Alive(Vec<u32>),
    /// Nothing can be waited for.
    #[error("the ends of processes cannot be waited for: {0}")]
    Wait(Errno),
}

impl Family {
    /// Starts a program whose descendants all become this process's own when their parents end.
    pub(super) fn start(
        program: &Program,
        arguments: &[String],
        user: Option<&User>,
    ) -> Result<Self, FamilyError> {
        prctl::set_child_subreaper(true).map_err(FamilyError::Subreaper)?;
        Ok(Self::of(program.start(arguments, user)?.id()))
    }

    /// What descends from a child of this process.
    pub(super) const fn of(first: u32) -> Self {
        Self {
            first,
            main: Some(first),
            code: 0,
            code_of_first: None,
            gone: false,
        }
    }

    /// The process that was started.
    pub(super) const fn first(&self) -> u32 {
        self.first
    }

    /// How the process ended that was started, in words.
    pub(super) fn end_of_first(&self) -> String {
        match self.code_of_first {
            Some(code) => format!("the program ended with exit code {code}"),
            None => "the program runs".into(),
        }
    }

    /// Whether nobody is left.
    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether the process that was started has ended, and no child of ours goes on as the program.
    pub(super) const fn is_orphaned(&self) -> bool {
        self.main.is_none()
    }

    /// Takes note of all that have ended.
    pub(super) fn reap(&mut self) {
        loop {
            let (pid, code) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u8::try_from(code).unwrap_or(1)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, code_of_signal(signal)),
                Ok(WaitStatus::StillAlive) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                // Whoever loses its parent becomes our child: without children there are no descendants.
                Err(_) => {
                    self.gone = true;
                    return;
                }
            };
            let pid = pid.as_raw().cast_unsigned();
            if pid == self.first {
                self.code_of_first = Some(code);
            }
            if self.main == Some(pid) {
                self.main = None;
                self.code = code;
            }
        }
    }

    /// The exit code, once the program has ended: the first process, and if that ended well, all others that execute the
    /// program; a daemon's own code counts.
    pub(super) fn over(&mut self, program: &Program) -> Option<u8> {
        if self.main.is_some() {
            return None;
        }
        if self.gone || self.code != 0 {
            return Some(self.code);
        }
        let instances = processes::instances(program.file()).unwrap_or_default();
        self.main = instances
            .iter()
            .copied()
            .find(|pid| processes::is_child(*pid));
        instances.is_empty().then_some(self.code)
    }

    /// Sends a signal to the program.
    pub(super) fn pass_on(&self, signal: Signal, program: &Program) {
        let targets = match self.main {
            Some(main) => vec![main],
            None => processes::instances(program.file()).unwrap_or_default(),
        };
        for pid in targets {
            send(pid, signal);
        }
    }

    /// Kills all, until nobody is left.
    pub(super) fn end(&mut self, events: &Events) -> Result<(), FamilyError> {
        let deadline = Instant::now() + END_DEADLINE;
        loop {
            let alive = descendants()?;
            for pid in &alive {
                send(*pid, Signal::SIGKILL);
            }
            self.reap();
            if self.gone {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(FamilyError::Alive(alive));
            }
            events
                .next(None, Some(LOOK_AGAIN))
                .map_err(FamilyError::Wait)?;
        }
    }
}

/// What shells make of a death by signal.
pub(super) fn code_of_signal(signal: Signal) -> u8 {
    128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0))
}

/// To a process that descended from this one when it was looked for, if it does still.
fn send(pid: u32, signal: Signal) {
    if let Some(descendant) = Descendant::open(pid) {
        descendant.signal(signal);
    }
}

#[cfg(test)]
pub(super) mod tests;
