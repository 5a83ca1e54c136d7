//! Giving up every right that serving does not need, for good.

mod system_calls;

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use system_calls::ALLOWED;

/// A right could not be given up. The measurer does not serve then.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A process attribute could not be set.
    #[error("cannot {doing}: {errno}")]
    Attribute {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// Landlock is there but refused.
    #[error("Landlock refused the rules")]
    Landlock(#[from] RulesetError),
    /// Landlock is there but enforces nothing.
    #[error(
        "Landlock enforces no rule although the kernel has it; check the kernel's LSM settings"
    )]
    NotEnforced,
    /// The system call filter could not be built.
    #[error("the system call filter is wrong")]
    Filter(#[from] seccompiler::BackendError),
    /// The system call filter could not be installed.
    #[error("the system call filter was refused")]
    Seccomp(#[from] seccompiler::Error),
}

/// Shuts the sandbox around the whole process, which has one thread.
///
/// # Errors
/// [`SandboxError`]; the process must end then.
pub(crate) fn shut() -> Result<(), SandboxError> {
    let attribute = |doing| move |errno| SandboxError::Attribute { doing, errno };
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, no_core).map_err(attribute("forbid core dumps"))?;
    // Also keeps other processes of the same user from attaching or reading its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(attribute("make the process undumpable"))?;
    set_no_new_privs(true).map_err(attribute("set no_new_privs"))?;
    deny_files_and_network()?;
    allow_system_calls()
}

/// Landlock without a single rule that allows: no path can be opened, executed or changed, no TCP port bound
/// or connected to, no process outside signalled. A kernel without Landlock is said so in the log; one that
/// has it must enforce.
fn deny_files_and_network() -> Result<(), SandboxError> {
    const NEWEST: ABI = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    match (status.ruleset, status.landlock) {
        (_, LandlockStatus::NotImplemented | LandlockStatus::NotEnabled) => {
            tracing::warn!(
                "this kernel has no Landlock; only seccomp keeps files from being opened"
            );
            Ok(())
        }
        (RulesetStatus::NotEnforced, _) => Err(SandboxError::NotEnforced),
        (RulesetStatus::PartiallyEnforced, _) => {
            tracing::info!(
                "this kernel's Landlock is older than the rules; it enforces a part of them"
            );
            Ok(())
        }
        (RulesetStatus::FullyEnforced, _) => Ok(()),
    }
}

/// Seccomp: whatever is not in the table kills the process.
fn allow_system_calls() -> Result<(), SandboxError> {
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
    Ok(seccompiler::apply_filter(&program)?)
}

#[cfg(test)]
mod tests;
