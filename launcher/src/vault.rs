//! Telling the vault: each step, before it takes effect.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_boot::{Refusal, VaultAnswer, VaultStep};
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long the vault may take for a step: a TPM's extension is slow, and a new store is written.
const PATIENCE: Duration = Duration::from_secs(60);

/// The link to the vault, and all steps that it agreed to: a vault that takes the place of one that ended is told all of them.
#[derive(Debug)]
pub struct Vault {
    link: UnixStream,
    told: Vec<VaultStep>,
    extended: u32,
}

impl Vault {
    /// A vault that was just started, told who signs releases.
    pub fn begin(link: UnixStream, release_key: Vec<u8>) -> Result<Self, VaultError> {
        let mut vault = Self {
            link,
            told: Vec::new(),
            extended: 0,
        };
        vault.tell(VaultStep::Begin {
            release_key,
            extended: 0,
        })?;
        Ok(vault)
    }

    /// Tells it a step; it takes effect only when this succeeds.
    pub fn tell(&mut self, step: VaultStep) -> Result<(), VaultError> {
        match exchange(&mut self.link, &step)? {
            VaultAnswer::Done { extended } => {
                self.extended = extended;
                // What was refused is not told again.
                self.told.push(step);
                Ok(())
            }
            VaultAnswer::Refused { refusal, extended } => {
                self.extended = extended;
                Err(VaultError::Refused(refusal))
            }
        }
    }

    /// Tells a new vault everything that the one before agreed to.
    pub fn tell_again(&mut self, link: UnixStream) -> Result<(), VaultError> {
        self.link = link;
        for step in &self.told {
            let step = match step {
                VaultStep::Begin { release_key, .. } => &VaultStep::Begin {
                    release_key: release_key.clone(),
                    extended: self.extended,
                },
                other => other,
            };
            if let VaultAnswer::Refused { refusal, .. } = exchange(&mut self.link, step)? {
                return Err(VaultError::Refused(refusal));
            }
        }
        Ok(())
    }
}

/// The vault did not agree.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It refuses.
    #[error(transparent)]
    Refused(Refusal),
    /// It does not answer, or not in time: what it makes of the step is not known, so that it must end.
    #[error("the vault does not answer the launcher: {0}")]
    Away(#[from] FrameError),
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused(refusal) => refusal,
            away @ VaultError::Away(_) => Self::Registers(away.to_string()),
        }
    }
}

fn exchange(link: &mut UnixStream, step: &VaultStep) -> Result<VaultAnswer, FrameError> {
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    write_frame(link, step, VaultStep::MAX_FRAME)?;
    read_frame(link, VaultStep::MAX_FRAME)
}
