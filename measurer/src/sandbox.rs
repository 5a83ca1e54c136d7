//! Giving up every right that serving does not need, for good.

mod system_calls;

use std::io;

use bartizan_confinement::{AccessError, Filter, FilterError, Rules, forbid_dumps};

use system_calls::allowed;

/// A right could not be given up. The measurer does not serve then.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Core dumps could not be forbidden.
    #[error("cannot make the process undumpable: {0}")]
    Dumps(#[from] io::Error),
    /// Landlock failed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Shuts the sandbox around the whole process, which has one thread: no path can be opened, executed or changed, no
/// TCP port bound or connected to, no process outside signalled, and no system call made that is not in the table. `tracks` says
/// whether writes are tracked.
///
/// # Errors
/// [`SandboxError`]; the process must end then.
pub(crate) fn shut(tracks: bool) -> Result<(), SandboxError> {
    forbid_dumps()?;
    Rules::none().enter()?;
    Filter::only(&allowed(tracks), &[])?.install()?;
    Ok(())
}

#[cfg(test)]
mod tests;
