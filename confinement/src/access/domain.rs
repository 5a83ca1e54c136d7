//! The domain that rules make, and entering it.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};

use super::rules::{Grant, Rights, Rules};

/// What the design depends on: files are guarded (Linux 5.13).
const REQUIRED: ABI = ABI::V1;
/// The newest version whose restrictions are asked for (Linux 6.15).
const NEWEST: ABI = ABI::V7;

/// What each version after the first brought.
const BROUGHT: &[(ABI, &str)] = &[
    (
        ABI::V2,
        "moving files between folders is refused altogether",
    ),
    (
        ABI::V3,
        "truncating files is not restricted (Linux 6.2 has it)",
    ),
    (
        ABI::V4,
        "TCP is not restricted by Landlock (Linux 6.7 has it)",
    ),
    (
        ABI::V5,
        "ioctls of devices are not restricted (Linux 6.10 has it)",
    ),
    (
        ABI::V6,
        "signals and abstract sockets are not restricted by Landlock (Linux 6.12 has it)",
    ),
];

/// Landlock rules that the kernel knows, to be entered once.
#[derive(Debug)]
pub struct Domain(RulesetCreated);

/// A domain could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A path of a rule is not there.
    #[error("{path} cannot be opened to grant rights there: {source}; make it, or correct the configuration", path = .path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: PathFdError,
    },
    /// Files cannot be guarded, or the kernel refused a rule.
    #[error(
        "Landlock cannot guard files: {0}; boot a kernel with Landlock (Linux 5.13 or later, `landlock` in `lsm=`)"
    )]
    Refused(#[from] RulesetError),
    /// Landlock is there but enforces nothing.
    #[error(
        "Landlock enforces no rule although the kernel has it; check the kernel's LSM settings"
    )]
    NotEnforced,
}

impl Rules {
    /// Makes the domain: opens the paths and tells the kernel the rules.
    pub fn domain(&self) -> Result<Domain, AccessError> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(REQUIRED))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(self.scopes())?;
        let mut domain = ruleset.create()?;
        for grant in &self.paths {
            if let Some(path) = open(grant)? {
                domain = domain.add_rule(PathBeneath::new(path, accesses(grant.rights)))?;
            }
        }
        let listen = self.listen.iter().map(|port| (port, AccessNet::BindTcp));
        let connect = self
            .connect
            .iter()
            .map(|port| (port, AccessNet::ConnectTcp));
        for (port, access) in listen.chain(connect) {
            domain = domain.add_rule(NetPort::new(*port, access))?;
        }
        Ok(Domain(domain))
    }

    fn scopes(&self) -> BitFlags<Scope> {
        if self.signals {
            Scope::from_all(NEWEST) & !Scope::Signal
        } else {
            Scope::from_all(NEWEST)
        }
    }

    /// Confines this thread and all that it starts from now on, and says in the log what the kernel lacks.
    pub fn enter(&self) -> Result<(), AccessError> {
        let status = self.domain()?.0.restrict_self()?;
        if status.ruleset == RulesetStatus::NotEnforced {
            return Err(AccessError::NotEnforced);
        }
        if let LandlockStatus::Available { effective_abi, .. } = status.landlock {
            for lack in lacking(effective_abi) {
                tracing::warn!("this kernel's Landlock is old: {lack}");
            }
        }
        Ok(())
    }
}

impl Domain {
    /// Confines this thread. It makes system calls only, without allocating or locking: for a child between fork and
    /// exec.
    pub fn enter_in_child(self) -> io::Result<()> {
        match self.0.restrict_self() {
            Ok(status) if status.ruleset != RulesetStatus::NotEnforced => Ok(()),
            Ok(_) | Err(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// What a kernel with this version does not restrict.
fn lacking(abi: ABI) -> impl Iterator<Item = &'static str> {
    BROUGHT
        .iter()
        .filter(move |(brought, _)| abi < *brought)
        .map(|(_, lack)| *lack)
}

fn open(grant: &Grant) -> Result<Option<PathFd>, AccessError> {
    let missing = |error: &PathFdError| match error {
        PathFdError::OpenCall { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    };
    match PathFd::new(&grant.path) {
        Ok(path) => Ok(Some(path)),
        Err(error) if grant.optional && missing(&error) => Ok(None),
        Err(source) => Err(AccessError::Path {
            path: grant.path.clone(),
            source,
        }),
    }
}

fn accesses(rights: Rights) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let replace =
        read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    match rights {
        Rights::Read => read,
        Rights::Execute => read | AccessFs::Execute,
        Rights::Write => read | AccessFs::WriteFile | AccessFs::IoctlDev,
        Rights::Replace => replace,
        Rights::Serve => replace | AccessFs::MakeSock,
        Rights::Manage => {
            replace
                | AccessFs::MakeDir
                | AccessFs::RemoveDir
                | AccessFs::MakeSock
                | AccessFs::MakeSym
        }
    }
}

#[cfg(test)]
mod tests;
