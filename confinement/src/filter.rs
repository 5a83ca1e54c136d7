//! Filters of system calls (seccomp(2)), made from tables.
//!
//! A violation ends the whole process (SECCOMP_RET_KILL_PROCESS): what a process never does, only an attacker does.

mod program;

use seccompiler::{BackendError, BpfProgram, apply_filter, apply_filter_all_threads};

use crate::system_call::SystemCall;

/// A compiled table.
#[derive(Clone, Debug)]
pub struct Filter(Vec<BpfProgram>);

/// A filter could not be made or installed.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The processor is not supported, or a condition names an argument that there is not.
    #[error("the table of system calls cannot be compiled: {0}")]
    Compile(#[from] BackendError),
    /// A line has no effect since another says more.
    #[error("system call {0} has a line without a condition and another line; keep one")]
    Redundant(i64),
    /// The kernel refused.
    #[error("the kernel refused the filter of system calls: {0}")]
    Install(#[from] seccompiler::Error),
}

impl Filter {
    /// Allows what is in `allowed`; answers ENOSYS to what is in `absent`, for calls that a library tries first and
    /// does without; ends the process at everything else.
    pub fn only(allowed: &[SystemCall], absent: &[SystemCall]) -> Result<Self, FilterError> {
        // Of several filters' verdicts the strictest holds, so that this one may allow what is absent.
        let allowed: Vec<_> = allowed.iter().chain(absent).cloned().collect();
        Ok(Self(vec![
            program::absent(absent)?,
            program::allow(&allowed)?,
        ]))
    }

    /// Ends the process at what is in `forbidden`, answers ENOSYS to what is in `absent`, allows everything else.
    ///
    /// Coarse, and for processes only that start others: those inherit the filter, so that it must allow whatever
    /// they may need. Calls of the x32 ABI, by which a number could be written in another way, end the process too.
    pub fn all_but(forbidden: &[SystemCall], absent: &[SystemCall]) -> Result<Self, FilterError> {
        Ok(Self(vec![
            program::native_numbers(),
            program::absent(absent)?,
            program::forbid(forbidden)?,
        ]))
    }

    /// Answers 0 to what is in `skipped`, without doing it: for calls that a program insists on, whose work was done for it. They
    /// must not be in a table of what ends the process.
    pub fn skipping(mut self, skipped: &[SystemCall]) -> Result<Self, FilterError> {
        self.0.push(program::skip(skipped)?);
        Ok(self)
    }

    /// Holds every thread of this process to the table, and all that they start, for ever.
    pub fn install(&self) -> Result<(), FilterError> {
        for program in &self.0 {
            apply_filter_all_threads(program)?;
        }
        Ok(())
    }

    /// Holds this thread to the table. It makes system calls only, without allocating or locking: for a child between
    /// fork and exec.
    pub fn install_in_child(&self) -> Result<(), FilterError> {
        for program in &self.0 {
            apply_filter(program)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
