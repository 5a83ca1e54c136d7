//! Giving up files, TCP and signals by Landlock (landlock(7)).
//!
//! No rule grants anything back. Connecting to the Unix sockets of services is outside of what
//! the handled access rights cover (up to Landlock ABI 7); which sockets those are, is checked where
//! a device is attached.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

/// The newest Landlock ABI whose restrictions are asked for.
const NEWEST: ABI = ABI::V7;

/// Landlock could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The kernel refused.
    #[error("Landlock could not be applied: {0}")]
    Refused(#[from] RulesetError),
    /// The kernel has none.
    #[error("this kernel has no Landlock; boot with `landlock` in the `lsm=` list")]
    Missing,
}

/// Gives up every access that the running kernel can take away.
pub(super) fn give_up() -> Result<(), FilesError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => {}
        RulesetStatus::PartiallyEnforced => {
            tracing::warn!(
                "this kernel's Landlock is old: TCP or signals are not restricted by it"
            );
        }
        RulesetStatus::NotEnforced => return Err(FilesError::Missing),
    }
    Ok(())
}
