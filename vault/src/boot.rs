//! The measured boot, as the vault sees it: told by the launcher, step by step, before anything takes effect.
//!
//! ```text
//! launcher ── step ─► Sequence (is it the one that is due, and allowed?) ─► registers extended ─► log
//!                                                  └─ else: failed, for good
//! operation ── reached::<Phase>() ─► Reached: the proof that an operation's signature asks for
//! ```

mod link;
mod progress;
mod reached;

use std::sync::{Mutex, PoisonError, RwLock};

use bartizan_attestation::boot::{Refusal, Sha384, VaultAnswer, VaultStep};
use bartizan_attestation::keys::{BootDescription, VaultRefusal};

use crate::backend::Backend;
use crate::config::MeasuredBoot;
use crate::keyring::Keyring;
pub use link::{Link, LinkError};
use progress::Progress;
pub(crate) use reached::{AfterCard, AfterEnclave, AfterHypervisor, Opens, Reached};

/// The boot of the host whose vault this is.
#[derive(Debug)]
pub struct Boot {
    /// `None` where none is demanded.
    demanded: Option<MeasuredBoot>,
    /// Whether this host was booted measured before: it is not without that any more.
    measured_before: bool,
    progress: Mutex<Progress>,
}

impl Boot {
    /// A boot of which nothing has happened; without `demanded` everything is open from the start, and certificates say nothing
    /// of a boot; but not where this host was booted measured before, whatever its configuration says now.
    #[must_use]
    pub fn new(demanded: Option<MeasuredBoot>, measured_before: bool) -> Self {
        Self {
            demanded,
            measured_before,
            progress: Mutex::new(Progress::new()),
        }
    }

    /// Takes a step of the launcher's.
    pub fn take(
        &self,
        step: VaultStep,
        backend: &dyn Backend,
        keyring: &RwLock<Keyring>,
    ) -> VaultAnswer {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match &self.demanded {
            Some(demanded) => progress.take(step, demanded, backend, keyring),
            None => Err(Refusal::Manifest(
                "the vault's configuration demands no measured boot; add `measured_boot` to it"
                    .into(),
            )),
        };
        let extended = progress.extended();
        match taken {
            Ok(()) => VaultAnswer::Done { extended },
            Err(refusal) => {
                tracing::error!(%refusal, "the boot is stopped");
                progress.stop(refusal.clone(), backend);
                VaultAnswer::Refused {
                    refusal,
                    extended: progress.extended(),
                }
            }
        }
    }

    /// The proof that a phase has ended, for whatever needs it.
    pub(crate) fn reached<P: Opens>(&self) -> Result<Reached<P>, VaultRefusal> {
        if self.demanded.is_none() && !self.measured_before {
            return Ok(Reached::new());
        }
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.completed() >= Some(P::PHASE) {
            return Ok(Reached::new());
        }
        Err(VaultRefusal::Shut {
            phase: P::PHASE,
            stopped: progress.stopped().cloned(),
        })
    }

    /// The measurement register at the end of each phase so far.
    pub(crate) fn phases(&self) -> Vec<Sha384> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.phases().to_vec()
    }

    /// What there is to say of it.
    pub(crate) fn describe(&self, backend: &dyn Backend) -> Result<BootDescription, VaultRefusal> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let registers = backend.registers();
        Ok(BootDescription {
            measured: self.demanded.is_some() || self.measured_before,
            log: progress.log().to_cbor().into(),
            registers: registers.map_err(crate::vault::store)?,
            phases: progress.phases().to_vec(),
            stopped: progress.stopped().cloned(),
            firmware: progress.firmware().map(|log| log.to_vec().into()),
        })
    }
}
