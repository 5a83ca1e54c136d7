//! Appraisal of a boot: whether its log is a walk through releases that the appraiser knows.
//!
//! The log by itself proves nothing. Whoever appraises it holds what it comes to, [`AppraisedBoot::phases`], against what the
//! host's card has certified: a certificate carries the register's values, which a log of another boot does not replay to.

use std::collections::VecDeque;

use crate::{
    Event, EventLog, Measured, Part, Phase, Refusal, RegisterValues, Sequence, Sha384,
    VerifiedManifest,
};

/// A boot whose every event is one that known releases allow, in their order. Made by [`EventLog::appraise`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppraisedBoot {
    releases: Vec<Sha384>,
    phases: Vec<Sha384>,
    registers: RegisterValues,
}

/// Why a boot is not appraised: nothing of its log may be believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BootAppraisalError {
    /// A release that the appraiser does not know.
    #[error(
        "version {version} of the {part}, manifest SHA-384 {manifest}, is no release that is registered and in force; register it, or boot one that is"
    )]
    UnknownRelease {
        /// Its part.
        part: Part,
        /// Its version, as the log says.
        version: u64,
        /// The digest of the manifest.
        manifest: Sha384,
    },
    /// A step that the releases do not allow.
    #[error("the boot is none of its releases': {0}")]
    Refused(#[from] Refusal),
    /// The boot was stopped.
    #[error("the boot was stopped in phase {phase}{}", by(.component.as_deref(), .found.as_ref()))]
    Stopped {
        /// In which phase.
        phase: Phase,
        /// By which component, where it was one.
        component: Option<String>,
        /// What was found in its place.
        found: Option<Sha384>,
    },
    /// An event that no boot has there.
    #[error("event {0} of the log is not the one that is due")]
    NotDue(usize),
    /// The log ends within a step.
    #[error("the log ends within a step of the boot")]
    Cut,
}

fn by(component: Option<&str>, found: Option<&Sha384>) -> String {
    match (component, found) {
        (Some(component), Some(found)) => format!(": `{component}` has SHA-384 {found}"),
        (Some(component), None) => format!(" at `{component}`"),
        (None, _) => String::new(),
    }
}

impl EventLog {
    /// The digests of the manifests that the log says it is of: which an appraiser has to know.
    pub fn releases(&self) -> impl Iterator<Item = &Sha384> {
        self.events()
            .iter()
            .filter_map(|event| match &event.measured {
                Measured::Release { manifest, .. } => Some(manifest),
                _ => None,
            })
    }

    /// Walks the log through the releases that it names, all of which must be among `known`.
    pub fn appraise(
        &self,
        known: &[VerifiedManifest],
    ) -> Result<AppraisedBoot, BootAppraisalError> {
        let mut walk = Walk {
            known,
            sequence: None,
            due: VecDeque::new(),
            appraised: AppraisedBoot {
                releases: Vec::new(),
                phases: Vec::new(),
                registers: RegisterValues::ZERO,
            },
        };
        for (index, event) in self.events().iter().enumerate() {
            walk.take(index, event)?;
        }
        if walk.due.is_empty() {
            Ok(walk.appraised)
        } else {
            Err(BootAppraisalError::Cut)
        }
    }
}

impl AppraisedBoot {
    /// The digests of the manifests that it is of: the base's, then the bundle's.
    #[must_use]
    pub fn releases(&self) -> &[Sha384] {
        &self.releases
    }

    /// The measurement register at the end of each phase that has ended, the first phase's first.
    #[must_use]
    pub fn phases(&self) -> &[Sha384] {
        &self.phases
    }

    /// What the registers hold.
    #[must_use]
    pub const fn registers(&self) -> &RegisterValues {
        &self.registers
    }

    /// The last phase that has ended.
    #[must_use]
    pub fn completed(&self) -> Option<Phase> {
        let last = self.phases.len().checked_sub(1)?;
        Phase::ALL.get(last).copied()
    }
}

struct Walk<'a> {
    known: &'a [VerifiedManifest],
    sequence: Option<Sequence>,
    /// What the last step gave and the log has yet to say.
    due: VecDeque<Event>,
    appraised: AppraisedBoot,
}

impl Walk<'_> {
    fn take(&mut self, index: usize, event: &Event) -> Result<(), BootAppraisalError> {
        let not_due = BootAppraisalError::NotDue(index);
        if self.due.is_empty() {
            self.due = self.step(&event.measured, &not_due)?.into();
        }
        if self.due.pop_front().as_ref() != Some(event) {
            return Err(not_due);
        }
        let registers = &mut self.appraised.registers;
        registers.extend(event.register, &event.digest());
        if let Measured::Completed { .. } = event.measured {
            self.appraised.phases.push(registers.measurement);
        }
        Ok(())
    }

    /// The events of the step that a logged one is the first of.
    fn step(
        &mut self,
        measured: &Measured,
        not_due: &BootAppraisalError,
    ) -> Result<Vec<Event>, BootAppraisalError> {
        if let Measured::Release {
            part,
            version,
            manifest,
            ..
        } = measured
        {
            let known = self.known.iter().find(|known| known.sha384() == manifest);
            let known = known.ok_or(BootAppraisalError::UnknownRelease {
                part: *part,
                version: *version,
                manifest: *manifest,
            })?;
            self.appraised.releases.push(*manifest);
            let sequence = self
                .sequence
                .get_or_insert_with(|| Sequence::new(*known.signer()));
            // How old a release may be is decided by who says which are known.
            return Ok(sequence.accept(known.clone(), 0)?);
        }
        let sequence = self.sequence.as_mut().ok_or_else(|| not_due.clone())?;
        match measured {
            Measured::Component { name, sha384, .. } => Ok(sequence.measure(name, *sha384)?),
            Measured::Completed { phase } => Ok(sequence.complete(*phase)?),
            Measured::Failed {
                phase,
                component,
                found,
            } => Err(BootAppraisalError::Stopped {
                phase: *phase,
                component: component.clone(),
                found: *found,
            }),
            Measured::Authority { .. } | Measured::Release { .. } => Err(not_due.clone()),
        }
    }
}
