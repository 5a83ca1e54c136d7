//! How far the boot is.

use std::sync::{PoisonError, RwLock};

use bartizan_attestation::boot::{
    Event, EventLog, FirmwareLog, FirmwareLogError, Phase, Refusal, Register, RegisterValues,
    Sequence, Sha384, VaultStep, VerifiedManifest,
};
use bartizan_attestation::cose::PublicKey;

use crate::backend::Backend;
use crate::config::MeasuredBoot;
use crate::keyring::Keyring;

#[derive(Debug)]
pub(super) struct Progress {
    begun: Option<Begun>,
    log: EventLog,
    phases: Vec<Sha384>,
    stopped: Option<Refusal>,
    /// So many events the registers hold from before this process; 0 once they were told again and found to be those.
    held: usize,
    /// What the host's own firmware measured. It is kept as it came, for whoever compares it with the TPM's PCRs.
    firmware: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Begun {
    release_key: PublicKey,
    sequence: Sequence,
}

impl Progress {
    pub(super) const fn new() -> Self {
        Self {
            begun: None,
            log: EventLog::new(Vec::new()),
            phases: Vec::new(),
            stopped: None,
            held: 0,
            firmware: None,
        }
    }

    pub(super) fn take(
        &mut self,
        step: VaultStep,
        demanded: &MeasuredBoot,
        backend: &dyn Backend,
        keyring: &RwLock<Keyring>,
    ) -> Result<(), Refusal> {
        match step {
            VaultStep::Begin {
                release_key,
                extended,
            } => self.begin(&release_key, extended, demanded, backend, keyring),
            VaultStep::Fail(refusal) => {
                self.stop(refusal, backend);
                Ok(())
            }
            VaultStep::Complete(phase) => self.complete(phase, backend),
            VaultStep::Booted => self.settle(demanded, keyring),
            VaultStep::Firmware(log) => self.keep_firmware(log),
            VaultStep::Release(_) | VaultStep::Measure { .. } => {
                let begun = self.begun.as_mut().ok_or_else(not_begun)?;
                let events = begun.step(step, keyring)?;
                self.extend(events, backend)
            }
        }
    }

    /// Ends a phase: first what was measured is confirmed, only then does the authority register say that it was well.
    fn complete(&mut self, phase: Phase, backend: &dyn Backend) -> Result<(), Refusal> {
        let begun = self.begun.as_mut().ok_or_else(not_begun)?;
        let events = begun.sequence.complete(phase)?;
        let (measured, vouched): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|event| event.register == Register::Measurement);
        self.extend(measured, backend)?;
        self.confirm(backend)?;
        self.extend(vouched, backend)?;
        self.phases.push(self.log.replay().measurement);
        tracing::info!(%phase, "phase ended");
        Ok(())
    }

    /// The boot is done: from now on no lower version of its parts will do.
    fn settle(&self, demanded: &MeasuredBoot, keyring: &RwLock<Keyring>) -> Result<(), Refusal> {
        let begun = self.begun.as_ref().ok_or_else(not_begun)?;
        if self.completed() < Some(Phase::Hypervisor) || self.stopped.is_some() {
            return Err(Refusal::Manifest("the boot is not done".into()));
        }
        let mut keyring = keyring.write().unwrap_or_else(PoisonError::into_inner);
        for phase in [Phase::Card, Phase::Hypervisor] {
            let manifest = begun.sequence.manifest(phase).ok_or_else(not_begun)?;
            let (part, version) = (manifest.manifest().part, manifest.manifest().version);
            let settled = keyring.settle_release(demanded.release_key, part, version);
            settled.map_err(|error| Refusal::Registers(error.to_string()))?;
        }
        Ok(())
    }

    /// Once, before anything else of the boot, and of bounded size, since it is part of every description.
    fn keep_firmware(&mut self, log: Vec<u8>) -> Result<(), Refusal> {
        let begun = self.begun.is_some() && self.log.events().is_empty();
        if !begun || self.firmware.is_some() {
            return Err(Refusal::OutOfOrder {
                phase: None,
                failed: self.stopped.is_some(),
                expected: None,
                found: "the firmware's event log".into(),
            });
        }
        if log.len() > FirmwareLog::MAX_LEN {
            return Err(Refusal::Registers(FirmwareLogError::TooLarge.to_string()));
        }
        self.firmware = Some(log);
        Ok(())
    }

    /// Registers that are not at their start are either those that this boot's former vault extended, or somebody else's.
    fn begin(
        &mut self,
        release_key: &[u8],
        extended: u32,
        demanded: &MeasuredBoot,
        backend: &dyn Backend,
        keyring: &RwLock<Keyring>,
    ) -> Result<(), Refusal> {
        if self.begun.is_some() || self.stopped.is_some() {
            return Err(Refusal::Manifest(
                "this vault was told of a boot already".into(),
            ));
        }
        let release_key = PublicKey::from_spki_der(release_key)
            .map_err(|error| Refusal::Manifest(error.to_string()))?;
        let found = release_key.sha256();
        let known = keyring.read().unwrap_or_else(PoisonError::into_inner);
        let expected = known.release_key().unwrap_or(demanded.release_key);
        for expected in [expected, demanded.release_key] {
            if expected != found {
                return Err(Refusal::Signer { expected, found });
            }
        }
        let registers = registers(backend)?;
        if registers != RegisterValues::ZERO {
            if extended == 0 {
                return Err(Refusal::Registers(
                    "the registers were extended already since this machine was started; start it anew, or name other PCRs"
                        .into(),
                ));
            }
            self.held = usize::try_from(extended).unwrap_or(usize::MAX);
        }
        self.begun = Some(Begun {
            sequence: Sequence::new(found),
            release_key,
        });
        Ok(())
    }

    fn extend(&mut self, events: Vec<Event>, backend: &dyn Backend) -> Result<(), Refusal> {
        for event in events {
            if self.log.events().len() >= self.held {
                // Before it is in the log: what is not extended was not measured.
                let extended = backend.extend(event.register, &event.digest());
                extended.map_err(|error| Refusal::Registers(error.to_string()))?;
            }
            self.log.push(event);
            if self.log.events().len() == self.held {
                // All that the registers hold from before was told again: is it what they hold?
                self.confirm(backend)?;
                self.held = 0;
            }
        }
        Ok(())
    }

    /// The log explains what the registers hold. While it is shorter than what they hold, nothing can be said yet, and
    /// nothing is open.
    fn confirm(&self, backend: &dyn Backend) -> Result<(), Refusal> {
        if self.log.events().len() < self.held {
            return Ok(());
        }
        let explained = self.log.explains(&registers(backend)?);
        explained.map_err(|error| Refusal::Registers(error.to_string()))
    }

    /// For good. What failed first is what is said.
    pub(super) fn stop(&mut self, refusal: Refusal, backend: &dyn Backend) {
        if let Some(begun) = &mut self.begun {
            let mut events = begun.sequence.fail(&refusal);
            let spoils = |event: &Event| event.register == Register::Authority;
            if self.phases.is_empty() && !events.iter().any(spoils) {
                // The first phase had all of its components, but did not end.
                let spoiling = events.first().map(|event| Event {
                    register: Register::Authority,
                    measured: event.measured.clone(),
                });
                events.extend(spoiling);
            }
            if let Err(error) = self.extend(events, backend) {
                tracing::error!(%error, "the registers could not be told that the boot was stopped");
            }
        }
        self.stopped.get_or_insert(refusal);
    }

    pub(super) fn completed(&self) -> Option<Phase> {
        let begun = self.begun.as_ref()?;
        if self.held > 0 {
            // Nothing that was told so far was compared with the registers.
            return None;
        }
        // A phase counts once its registers were confirmed.
        let confirmed = self.phases.len().checked_sub(1)?;
        begun
            .sequence
            .completed()
            .min(Phase::ALL.get(confirmed).copied())
    }

    pub(super) const fn stopped(&self) -> Option<&Refusal> {
        self.stopped.as_ref()
    }

    pub(super) const fn log(&self) -> &EventLog {
        &self.log
    }

    pub(super) fn firmware(&self) -> Option<&[u8]> {
        self.firmware.as_deref()
    }

    pub(super) fn phases(&self) -> &[Sha384] {
        &self.phases
    }

    pub(super) fn extended(&self) -> u32 {
        u32::try_from(self.log.events().len()).unwrap_or(u32::MAX)
    }
}

impl Begun {
    /// The events of a manifest or a component.
    fn step(&mut self, step: VaultStep, keyring: &RwLock<Keyring>) -> Result<Vec<Event>, Refusal> {
        match step {
            VaultStep::Release(signed) => {
                let manifest = VerifiedManifest::verify(&signed, &self.release_key)
                    .map_err(|error| Refusal::Manifest(error.to_string()))?;
                let known = keyring.read().unwrap_or_else(PoisonError::into_inner);
                let lowest = known.lowest_version(manifest.manifest().part);
                self.sequence.accept(manifest, lowest)
            }
            VaultStep::Measure { name, sha384 } => self.sequence.measure(&name, sha384),
            _ => Err(not_begun()),
        }
    }
}

fn registers(backend: &dyn Backend) -> Result<RegisterValues, Refusal> {
    backend
        .registers()
        .map_err(|error| Refusal::Registers(error.to_string()))
}

fn not_begun() -> Refusal {
    Refusal::Manifest("the vault was not told who signs releases".into())
}
