//! What the process gives up once its files are known: dumps, swap, every path but its own, the network, and all
//! system calls that serving does not need.

mod system_calls;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use system_calls::ALLOWED;

/// The process could not be confined. The vault does not serve then.
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
    /// Landlock is there but enforces nothing.
    #[error(
        "Landlock enforces no rule although the kernel has it; check the kernel's LSM settings"
    )]
    NotEnforced,
    /// No random numbers.
    #[error("the random number generator failed")]
    Random,
    /// The system call filter could not be built.
    #[error("the system call filter is wrong: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The system call filter could not be installed.
    #[error("the system call filter was refused: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// No core dumps, no debugger of the same user; no swap either, as far as RLIMIT_MEMLOCK allows.
pub fn keep_memory_private() -> Result<(), ConfinementError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(io::Error::from)?;
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

/// From here on, for this thread and those that it starts: no path but the key store's folder, no TCP, no signal to
/// another process. A kernel without Landlock is said so in the log; one that has it must enforce.
pub fn restrict_paths(store: &Path) -> Result<(), ConfinementError> {
    const NEWEST: ABI = ABI::V6;
    let folder = PathFd::new(store.parent().unwrap_or(Path::new(".")))?;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(folder, replace_files()))?
        .restrict_self()?;
    match (status.ruleset, status.landlock) {
        (_, LandlockStatus::NotImplemented | LandlockStatus::NotEnabled) => {
            tracing::warn!("this kernel has no Landlock; only its permissions keep files shut");
            Ok(())
        }
        (RulesetStatus::NotEnforced, _) => Err(ConfinementError::NotEnforced),
        (RulesetStatus::PartiallyEnforced, _) => {
            tracing::info!("this kernel's Landlock is older than the rules; it enforces a part");
            Ok(())
        }
        (RulesetStatus::FullyEnforced, _) => Ok(()),
    }
}

/// What replacing the store as a whole needs.
fn replace_files() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}

/// Seccomp, for all threads: whatever is not in the table kills the process.
pub fn restrict_system_calls() -> Result<(), ConfinementError> {
    // aws-lc's generator looks at the machine when it is first used, by calls that serving never needs again.
    let mut first = [0];
    SystemRandom::new()
        .fill(&mut first)
        .map_err(|_| ConfinementError::Random)?;
    let mut rules = BTreeMap::new();
    for call in ALLOWED {
        rules.insert(call.number, call.rules()?);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    let program = BpfProgram::try_from(filter)?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}
