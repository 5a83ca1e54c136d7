//! What the process gives up once its files are known: dumps, privileges, and every path but its own.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// The process could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// A system call failed.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] io::Error),
    /// The store's folder cannot be opened.
    #[error("the key store's folder cannot be opened: {0}")]
    Folder(#[from] landlock::PathFdError),
    /// Landlock failed.
    #[error("Landlock failed: {0}")]
    Landlock(#[from] RulesetError),
}

/// No core dumps, no debugger of the same user.
pub fn forbid_dumps() -> Result<(), ConfinementError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(io::Error::from)?;
    Ok(())
}

/// From here on only the key store's folder can be used; says so where the kernel cannot.
pub fn confine(store: &Path) -> Result<(), ConfinementError> {
    let abi = ABI::V3;
    let folder = PathFd::new(store.parent().unwrap_or(Path::new(".")))?;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rule(PathBeneath::new(folder, AccessFs::from_all(abi)))?
        .restrict_self()?;
    if status.ruleset != RulesetStatus::FullyEnforced {
        tracing::warn!(status = ?status.ruleset, "this kernel does not enforce all of Landlock");
    }
    Ok(())
}
