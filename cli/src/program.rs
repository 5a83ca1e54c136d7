//! Other programs of this project that a command runs.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// Another program did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// It could not be started.
    #[error(
        "{program} could not be run: {source}; it is looked for beside this program and in PATH"
    )]
    Start {
        /// Which.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It said on standard error why.
    #[error("{program} ended with {status}")]
    Failed {
        /// Which.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// It printed something else than was expected.
    #[error("{program} printed something unexpected; is it of this version?")]
    Output {
        /// Which.
        program: &'static str,
    },
}

impl ProgramError {
    /// That it could not be started.
    pub(crate) fn start(program: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Start { program, source }
    }

    /// The exit code to pass on: all programs of this project mean the same by 2 and 69.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed { status, .. } => match status.code() {
                Some(2) => 2,
                Some(69) => 69,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// Fails unless the program succeeded.
    pub(crate) fn check(program: &'static str, status: ExitStatus) -> Result<(), Self> {
        if status.success() {
            Ok(())
        } else {
            Err(Self::Failed { program, status })
        }
    }
}

/// A program beside this one, or else in PATH.
pub(crate) fn beside(name: &'static str) -> Command {
    let beside = std::env::current_exe()
        .map(|own| own.with_file_name(name))
        .ok()
        .filter(|path| path.exists());
    Command::new(beside.unwrap_or_else(|| PathBuf::from(name)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn wrong_usage_and_an_outage_are_passed_on() {
        let code = |raw| {
            let status = ExitStatus::from_raw(raw);
            ProgramError::check("a program", status).unwrap_err().code()
        };
        // Exit codes as wait(2) has them; the last died of SIGKILL.
        assert_eq!(
            [2 << 8, 69 << 8, 1 << 8, 101 << 8, 9].map(code),
            [2, 69, 1, 1, 1]
        );
        ProgramError::check("a program", ExitStatus::from_raw(0)).unwrap();
    }
}
