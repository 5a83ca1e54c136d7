//! What the process gives up once its files are known: dumps, swap, every path but its own, the network, and all
//! system calls that serving does not need.

mod pkcs11;
mod system_calls;
mod tpm2;

use std::io;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_confinement::{
    AccessError, Filter, FilterError, Rights, Rules, SystemCall, forbid_dumps,
};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};

use crate::config::{Connects, Sealing, Tcti};
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
/// replaced as a whole, and what the back end cannot do without; no TCP, no signal to another process.
pub fn restrict_paths(store: &Path, sealing: &Sealing) -> Result<(), ConfinementError> {
    let folder = store.parent().unwrap_or(Path::new("."));
    let rules = Rules::none().grant(folder, Rights::Replace);
    let rules = match sealing {
        // Replaced when it is rotated.
        Sealing::KeyFile(key) => {
            rules.grant(key.parent().unwrap_or(Path::new(".")), Rights::Replace)
        }
        // Read again then.
        Sealing::PassphraseFile(passphrase) => rules.grant(passphrase, Rights::Read),
        Sealing::Tpm2(tpm) => match &tpm.tcti {
            Tcti::Device(device) => rules.grant(device, Rights::Write),
            // Commands, and the control channel.
            Tcti::Swtpm { port, .. } => rules.connect(*port).connect(port.saturating_add(1)),
        },
        Sealing::Pkcs11(token) => {
            let rules =
                (token.reads.iter()).fold(rules, |rules, path| rules.grant(path, Rights::Read));
            (token.writes.iter()).fold(rules, |rules, path| rules.grant(path, Rights::Replace))
        }
    };
    rules.enter()?;
    Ok(())
}

/// Seccomp, for all threads: whatever is not in the back end's table kills the process.
pub fn restrict_system_calls(sealing: &Sealing) -> Result<(), ConfinementError> {
    // aws-lc's generator looks at the machine when it is first used, by calls that serving never needs again.
    let mut first = [0];
    SystemRandom::new()
        .fill(&mut first)
        .map_err(|_| ConfinementError::Random)?;
    let (further, absent): (&[&[SystemCall]], &[SystemCall]) = match sealing {
        Sealing::KeyFile(_) | Sealing::PassphraseFile(_) => (&[], &[]),
        Sealing::Tpm2(tpm) => match tpm.tcti {
            Tcti::Device(_) => (&[tpm2::DEVICE], &[]),
            Tcti::Swtpm { .. } => (&[tpm2::SWTPM], &[]),
        },
        Sealing::Pkcs11(token) => match token.connects {
            None => (&[pkcs11::ALLOWED], pkcs11::ABSENT),
            Some(Connects::Unix) => (&[pkcs11::ALLOWED, pkcs11::CONNECTING], &[]),
        },
    };
    Filter::only(&[&[ALLOWED], further].concat().concat(), absent)?.install()?;
    Ok(())
}

#[cfg(test)]
mod tests;
