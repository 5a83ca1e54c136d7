//! The program to run: where it is, and how it is started so that it does not outlive the tool.
//!
//! The tool starts itself once more; that process becomes the user that it shall be, asks the kernel to be killed when the
//! tool dies, and then becomes the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::events;
use super::processes::FileId;
use super::user::User;

/// The hidden subcommand by which the tool starts itself.
pub(crate) const START: &str = "start-program";
/// What shells answer for a program that cannot be executed.
const NOT_EXECUTED: u8 = 127;

/// A program that is there.
pub(super) struct Program {
    path: PathBuf,
    file: FileId,
}

/// The program cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// There is none.
    #[error("there is no program `{0}`; name it by its path, or put its folder into PATH")]
    NotFound(String),
    /// It could not be started.
    #[error("`{path}` could not be started: {source}", path = .path.display())]
    Start {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Program {
    /// Finds a program as a shell does.
    pub(super) fn find(name: &str) -> Result<Self, ProgramError> {
        let at = |path: PathBuf| {
            let metadata = path.metadata().ok()?;
            let executable = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
            let file = FileId::of(&path).ok()?;
            executable.then_some(Self { path, file })
        };
        let found = if name.contains('/') {
            at(name.into())
        } else {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).find_map(|folder| at(folder.join(name)))
        };
        found.ok_or_else(|| ProgramError::NotFound(name.into()))
    }

    /// Its file.
    pub(super) const fn file(&self) -> FileId {
        self.file
    }

    /// Starts it in a process group of its own, as another user if one is given.
    pub(super) fn start(
        &self,
        arguments: &[String],
        user: Option<&User>,
    ) -> Result<Child, ProgramError> {
        Command::new("/proc/self/exe")
            .arg(START)
            .args(user.map(|user| format!("--user={}", user.name())))
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&self.path)
            .args(arguments)
            .process_group(0)
            .spawn()
            .map_err(|source| ProgramError::Start {
                path: self.path.clone(),
                source,
            })
    }
}

/// Becomes the program; returns only if that fails.
pub(crate) fn become_program(
    tool: u32,
    user: Option<&User>,
    program: &Path,
    arguments: &[OsString],
) -> ExitCode {
    // The user first: the kernel forgets the signal of who becomes another one (prctl(2)).
    let prepared = (user.map_or(Ok(()), User::become_it))
        .and_then(|()| prctl::set_pdeathsig(Signal::SIGKILL))
        .and_then(|()| events::release());
    if let Err(error) = prepared {
        eprintln!("bartizan-guest: the program cannot be prepared: {error}");
        return ExitCode::from(NOT_EXECUTED);
    }
    // The tool may have died before the kernel was asked.
    if parent_id() != tool {
        return ExitCode::from(NOT_EXECUTED);
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!(
        "bartizan-guest: `{}` could not be started: {error}",
        program.display()
    );
    ExitCode::from(NOT_EXECUTED)
}
