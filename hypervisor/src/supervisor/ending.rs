//! How a boot ended: left in the guest's folder for a daemon that was not there to see it.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bartizan_attestation::host::GuestState;
use serde::{Deserialize, Serialize};

use super::left;

/// Longest file that is read, in bytes: a reason is a sentence.
const LONGEST: u64 = 64 << 10;

/// How a boot ended. Where a supervisor is gone and left none, it was killed: a failure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how", deny_unknown_fields)]
pub enum Ending {
    /// It was asked to stop.
    Stopped,
    /// The guest switched itself off.
    Shutdown,
    /// The guest asked for a reset: it wants to be booted anew, as a new identity.
    Rebooted,
    /// QEMU ended by itself, or the guest never showed life.
    Failed {
        /// What happened.
        reason: String,
    },
}

impl Ending {
    /// The guest's last state.
    #[must_use]
    pub const fn state(&self) -> GuestState {
        match self {
            Self::Stopped | Self::Shutdown | Self::Rebooted => GuestState::Stopped,
            Self::Failed { .. } => GuestState::Failed,
        }
    }

    /// Leaves it at `path`: whole or not at all.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let partial = path.with_extension("partial");
        fs::write(&partial, serde_json::to_vec(self)?)?;
        fs::rename(partial, path)
    }

    /// Reads the one left at `path`, where there is one. The supervisor may have been taken over: what is too long is none.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let Some(file) = left::open(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        if file.take(LONGEST + 1).read_to_end(&mut bytes)? as u64 > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ending.json");
        // Sparse: larger than any memory.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let refused = Ending::load(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn ending_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ending.json");
        assert_eq!(Ending::load(&path).unwrap(), None);
        for ending in [
            Ending::Rebooted,
            Ending::Failed {
                reason: "why".into(),
            },
        ] {
            ending.store(&path).unwrap();
            assert_eq!(Ending::load(&path).unwrap(), Some(ending));
        }
    }
}
