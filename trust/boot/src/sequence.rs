//! The one order of a boot.
//!
//! ```text
//! accept(base) ─► measure… ─► complete(card) ─► measure… ─► complete(devices)
//!   ─► accept(bundle) ─► measure… ─► complete(coordinator) ─► … ─► complete(enclave)
//! anything else ─► failed, for good
//! ```

use crate::{Component, Event, Measured, Part, Phase, Sha384, VerifiedManifest};

pub use refusal::Refusal;

mod refusal;

/// A boot under way: gives the events of what was done, and refuses what may not be done now.
#[derive(Clone, Debug)]
pub struct Sequence {
    signer: [u8; 32],
    base: Option<VerifiedManifest>,
    bundle: Option<VerifiedManifest>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In a phase, of which so many components were measured.
    In(Phase, usize),
    /// After the last phase.
    Done,
    /// Stopped in a phase.
    Failed(Phase),
}

impl Sequence {
    /// A boot whose manifests must be signed by the key with this SHA-256 over its SubjectPublicKeyInfo.
    #[must_use]
    pub const fn new(signer: [u8; 32]) -> Self {
        Self {
            signer,
            base: None,
            bundle: None,
            state: State::In(Phase::Card, 0),
        }
    }

    /// Accepts the manifest of the part that is due, if its version is at least `lowest`.
    pub fn accept(
        &mut self,
        manifest: VerifiedManifest,
        lowest: u64,
    ) -> Result<Vec<Event>, Refusal> {
        let State::In(phase, 0) = self.state else {
            return Err(self.out_of_order("a release manifest"));
        };
        let (part, version) = (manifest.manifest().part, manifest.manifest().version);
        let due = match phase {
            Phase::Card => self.base.is_none() && part == Part::Base,
            Phase::Coordinator => self.bundle.is_none() && part == Part::Bundle,
            _ => false,
        };
        if !due {
            return Err(self.out_of_order("a release manifest"));
        }
        if *manifest.signer() != self.signer {
            return Err(Refusal::Signer {
                expected: self.signer,
                found: *manifest.signer(),
            });
        }
        if version < lowest {
            return Err(Refusal::RolledBack {
                part,
                lowest,
                found: version,
            });
        }
        let base = self
            .base
            .iter()
            .flat_map(|base| &base.manifest().components);
        let taken = base.clone().find(|one| {
            let names = manifest.manifest().components.iter();
            names.into_iter().any(|other| {
                let rest = other.name.strip_prefix(one.name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        });
        if let Some(taken) = taken {
            return Err(Refusal::Taken(taken.name.clone()));
        }
        if let Some(base) = &self.base {
            let inherited = manifest
                .manifest()
                .check_inherited(&base.manifest().components);
            inherited.map_err(|error| Refusal::Manifest(error.to_string()))?;
        }
        let event = Event::measurement(Measured::Release {
            part,
            version,
            signer: self.signer,
            manifest: *manifest.sha384(),
        });
        match part {
            Part::Base => self.base = Some(manifest),
            Part::Bundle => self.bundle = Some(manifest),
        }
        Ok(vec![event])
    }

    /// Measures the component that is due.
    pub fn measure(&mut self, name: &str, sha384: Sha384) -> Result<Vec<Event>, Refusal> {
        let State::In(phase, measured) = self.state else {
            return Err(self.out_of_order(name));
        };
        let due = self.due().ok_or_else(|| self.out_of_order(name))?;
        if due.name != name {
            return Err(self.out_of_order(name));
        }
        if !due.allows(&sha384) {
            return Err(Refusal::Mismatch {
                phase,
                component: name.into(),
                expected: due.sha384.clone(),
                found: sha384,
            });
        }
        self.state = State::In(phase, measured + 1);
        Ok(vec![Event::measurement(Measured::Component {
            phase,
            name: name.into(),
            sha384,
        })])
    }

    /// Ends the phase, of which everything must have been measured.
    pub fn complete(&mut self, phase: Phase) -> Result<Vec<Event>, Refusal> {
        let State::In(current, _) = self.state else {
            return Err(self.out_of_order("the end of a phase"));
        };
        if current != phase || self.manifest(phase).is_none() {
            return Err(self.out_of_order("the end of a phase"));
        }
        if let Some(missing) = self.due() {
            return Err(Refusal::Incomplete {
                phase,
                missing: missing.name.clone(),
            });
        }
        self.state = match phase.next() {
            Some(next) => State::In(next, 0),
            None => State::Done,
        };
        let mut events = vec![Event::measurement(Measured::Completed { phase })];
        if phase == Phase::Card {
            let signer = self.signer;
            events.push(Event::authority(Measured::Authority { signer }));
        }
        Ok(events)
    }

    /// Stops the boot for good. In the first phase the authority register is spoilt as well, so that nothing that is sealed to
    /// it opens; later it is left as it is: with the keys of the first phase a host can still say why it stopped.
    pub fn fail(&mut self, refusal: &Refusal) -> Vec<Event> {
        let phase = match self.state {
            State::In(phase, _) => phase,
            State::Done => Phase::Enclave,
            State::Failed(_) => return Vec::new(),
        };
        self.state = State::Failed(phase);
        let (component, found) = refusal.component();
        let failed = Measured::Failed {
            phase,
            component: component.map(Into::into),
            found,
        };
        let mut events = vec![Event::measurement(failed.clone())];
        if phase == Phase::Card {
            events.push(Event::authority(failed));
        }
        events
    }

    /// The last phase that has ended, whether or not a later one failed.
    #[must_use]
    pub fn completed(&self) -> Option<Phase> {
        match self.state {
            State::In(phase, _) | State::Failed(phase) => {
                Phase::ALL.into_iter().rfind(|before| *before < phase)
            }
            State::Done => Some(Phase::Enclave),
        }
    }

    /// Whether it was stopped, and in which phase.
    #[must_use]
    pub const fn failed(&self) -> Option<Phase> {
        match self.state {
            State::Failed(phase) => Some(phase),
            _ => None,
        }
    }

    /// The manifest that speaks of a phase, once it was accepted.
    #[must_use]
    pub const fn manifest(&self, phase: Phase) -> Option<&VerifiedManifest> {
        match phase.part() {
            Part::Base => self.base.as_ref(),
            Part::Bundle => self.bundle.as_ref(),
        }
    }

    /// The component to be measured next, if one of the phase is left.
    #[must_use]
    pub fn due(&self) -> Option<&Component> {
        let State::In(phase, measured) = self.state else {
            return None;
        };
        self.manifest(phase)?.manifest().of(phase).nth(measured)
    }

    fn out_of_order(&self, found: &str) -> Refusal {
        let phase = match self.state {
            State::In(phase, _) | State::Failed(phase) => Some(phase),
            State::Done => None,
        };
        Refusal::OutOfOrder {
            phase,
            failed: self.failed().is_some(),
            expected: self.due().map(|due| due.name.clone()),
            found: found.chars().take(128).collect(),
        }
    }
}
