//! What the process gives up before it serves anybody.
//!
//! In this order, in the first thread, before there is a second: no core dumps and no ptrace (its
//! memory maps guests' RAM), no file, no TCP, no signal to others (Landlock), no privileges by exec,
//! and only the system calls of its table (seccomp). Connecting to the Unix sockets of services is left: which
//! sockets those are, is checked where a device is attached.

mod system_calls;

use std::io;

use bartizan_confinement::{AccessError, Filter, FilterError, Rules, forbid_dumps};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use system_calls::{ABSENT, ALLOWED};

/// The process could not be confined; it must not serve.
#[derive(Debug, thiserror::Error)]
pub enum HardeningError {
    /// A limit could not be set.
    #[error("a limit could not be set: {0}")]
    Limit(#[from] io::Error),
    /// Landlock failed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Confines the process. Nothing can be opened afterwards: bind sockets and read files before.
pub fn confine() -> Result<(), HardeningError> {
    forbid_dumps()?;
    // Each connection of each guest is a descriptor.
    let descriptors = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: descriptors.maximum,
        ..descriptors
    };
    setrlimit(Resource::Nofile, all).map_err(io::Error::from)?;
    Rules::none().enter()?;
    Filter::only(ALLOWED, ABSENT)?.install()?;
    Ok(())
}

#[cfg(test)]
mod tests;
