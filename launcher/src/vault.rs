//! Telling the vault: each step, before it takes effect.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_boot::{Refusal, VaultAnswer, VaultStep};
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long the vault may take for a step: a TPM's extension is slow, and a new store is written.
const PATIENCE: Duration = Duration::from_secs(60);

/// The link to the vault, and all steps so far: a vault that takes the place of one that ended is told all of them.
#[derive(Debug)]
pub struct Vault {
    link: UnixStream,
    told: Vec<VaultStep>,
    extended: u32,
}

impl Vault {
    /// A vault that was just started, told who signs releases.
    pub fn begin(link: UnixStream, release_key: Vec<u8>) -> Result<Self, Refusal> {
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
    pub fn tell(&mut self, step: VaultStep) -> Result<(), Refusal> {
        let answer = exchange(&mut self.link, &step);
        self.told.push(step);
        match answer {
            Ok(VaultAnswer::Done { extended }) => {
                self.extended = extended;
                Ok(())
            }
            Ok(VaultAnswer::Refused { refusal, extended }) => {
                self.extended = extended;
                Err(refusal)
            }
            Err(error) => Err(away(&error)),
        }
    }

    /// Tells a new vault everything that the one before was told.
    pub fn tell_again(&mut self, link: UnixStream) -> Result<(), Refusal> {
        self.link = link;
        for step in &self.told {
            let step = match step {
                VaultStep::Begin { release_key, .. } => &VaultStep::Begin {
                    release_key: release_key.clone(),
                    extended: self.extended,
                },
                other => other,
            };
            match exchange(&mut self.link, step) {
                Ok(VaultAnswer::Done { .. }) => {}
                // The step at which the boot was stopped is refused again.
                Ok(VaultAnswer::Refused { .. }) => break,
                Err(error) => return Err(away(&error)),
            }
        }
        Ok(())
    }
}

fn exchange(link: &mut UnixStream, step: &VaultStep) -> Result<VaultAnswer, FrameError> {
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    write_frame(link, step, VaultStep::MAX_FRAME)?;
    read_frame(link, VaultStep::MAX_FRAME)
}

fn away(error: &FrameError) -> Refusal {
    Refusal::Registers(format!("the vault does not answer the launcher: {error}"))
}
