//! What the process gives up once its files are known: dumps, swap, every path but its own, the network, and all
//! system calls that serving does not need.

mod system_calls;

use std::io;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_confinement::{AccessError, Filter, FilterError, Rights, Rules, forbid_dumps};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};

use system_calls::ALLOWED;

/// The process could not be confined. The vault does not serve then.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// A system call failed.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] io::Error),
    /// Landlock failed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No random numbers.
    #[error("the random number generator failed")]
    Random,
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// No core dumps, no debugger of the same user; no swap either, as far as RLIMIT_MEMLOCK allows.
pub fn keep_memory_private() -> Result<(), ConfinementError> {
    forbid_dumps()?;
    // With a limit, locking what is yet to come would make later allocations fail.
    let flags = match getrlimit(Resource::Memlock).current {
        None => MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT,
        Some(_) => MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT,
    };
    if let Err(error) = mlockall(flags) {
        tracing::warn!(%error, "memory can be swapped out; raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=infinity)");
    }
    Ok(())
}

/// From here on, for this thread and those that it starts: no path but the key store's folder, in which the store is
/// replaced as a whole, no TCP, no signal to another process.
pub fn restrict_paths(store: &Path) -> Result<(), ConfinementError> {
    let folder = store.parent().unwrap_or(Path::new("."));
    Rules::none().grant(folder, Rights::Replace).enter()?;
    Ok(())
}

/// Seccomp, for all threads: whatever is not in the table kills the process.
pub fn restrict_system_calls() -> Result<(), ConfinementError> {
    // aws-lc's generator looks at the machine when it is first used, by calls that serving never needs again.
    let mut first = [0];
    SystemRandom::new()
        .fill(&mut first)
        .map_err(|_| ConfinementError::Random)?;
    Filter::only(ALLOWED, &[])?.install()?;
    Ok(())
}

#[cfg(test)]
mod tests;
