//! What the process gives up before it serves anybody.
//!
//! In this order, in the first thread, before there is a second: no core dumps and no ptrace (its
//! memory maps guests' RAM), no file, no TCP, no signal to others (Landlock), no privileges by exec,
//! and only the system calls of [`syscalls`] (seccomp).

mod files;
mod filter;
pub mod syscalls;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

pub use files::FilesError;
pub use filter::FilterError;

/// The process could not be confined; it must not serve.
#[derive(Debug, thiserror::Error)]
pub enum HardeningError {
    /// A limit could not be set.
    #[error("a limit could not be set: {0}")]
    Limit(#[from] rustix::io::Errno),
    /// Landlock failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Confines the process. Nothing can be opened afterwards: bind sockets and read files before.
pub fn confine() -> Result<(), HardeningError> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Each connection of each guest is a descriptor.
    let descriptors = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: descriptors.maximum,
            ..descriptors
        },
    )?;
    files::give_up()?;
    filter::apply()?;
    Ok(())
}
