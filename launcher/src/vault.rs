//! Telling the vault: each step, before it takes effect.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_boot::{Refusal, VaultAnswer, VaultStep};
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long the vault may take for a step: a TPM's extension is slow, and a new store is written.
const PATIENCE: Duration = Duration::from_secs(60);

/// The link to the vault, and what a vault that takes the place of one that ended is told: all steps that this one agreed to, and
/// that the boot was stopped, whether it heard of that or not.
///
/// A step that was sent and not answered is not among them: the boot is stopped at it. Registers that outlive the vault (a TPM's)
/// may hold it nevertheless. What is told again does not explain them then, and the next vault opens nothing.
#[derive(Debug)]
pub struct Vault {
    /// `None` once a step was not answered: whatever came over it now would be an answer to that one.
    link: Option<UnixStream>,
    told: Vec<VaultStep>,
    extended: u32,
}

impl Vault {
    /// A vault that was just started, and was told nothing.
    #[must_use]
    pub const fn new(link: UnixStream) -> Self {
        Self {
            link: Some(link),
            told: Vec::new(),
            extended: 0,
        }
    }

    /// Tells it who signs releases: the first step.
    pub fn begin(&mut self, release_key: Vec<u8>) -> Result<(), VaultError> {
        self.tell(VaultStep::Begin {
            release_key,
            extended: 0,
        })
    }

    /// Tells it a step; it takes effect only when this succeeds.
    pub fn tell(&mut self, step: VaultStep) -> Result<(), VaultError> {
        self.exchange(&step)?;
        // What was refused is not told again.
        self.told.push(step);
        Ok(())
    }

    /// Tells it that the boot is stopped. That is told again also if this fails: a vault that takes its place would be told
    /// of a boot in which nothing was wrong.
    pub fn stop(&mut self, refusal: Refusal) -> Result<(), VaultError> {
        let step = VaultStep::Fail(refusal);
        let told = self.exchange(&step);
        self.told.push(step);
        told
    }

    /// Tells a new vault everything that the one before agreed to, and of the boot's stop.
    pub fn tell_again(&mut self, link: UnixStream) -> Result<(), VaultError> {
        self.link = Some(link);
        let extended = self.extended;
        for mut step in self.told.clone() {
            if let VaultStep::Begin { extended: held, .. } = &mut step {
                *held = extended;
            }
            self.exchange(&step)?;
        }
        Ok(())
    }

    fn exchange(&mut self, step: &VaultStep) -> Result<(), VaultError> {
        let link = self.link.as_mut().ok_or(FrameError::Closed)?;
        let answer = exchange(link, step).inspect_err(|_| self.link = None)?;
        let (VaultAnswer::Done { extended } | VaultAnswer::Refused { extended, .. }) = answer;
        // One that is told again counts from the start: the registers hold all the same what the one before extended.
        self.extended = self.extended.max(extended);
        match answer {
            VaultAnswer::Done { .. } => Ok(()),
            VaultAnswer::Refused { refusal, .. } => Err(VaultError::Refused(refusal)),
        }
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

#[cfg(test)]
mod tests;
