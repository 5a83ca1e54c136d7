//! A release with a component or two a phase, and its boot.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_cose::{Curve, PublicKey, Sign, SignError};

use crate::{
    Component, Event, EventLog, Link, Manifest, Part, Phase, Refusal, Sequence, Sha384, Start,
    VerifiedManifest,
};

pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey::from_point(Curve::P384, self.0.public_key().as_ref()).unwrap()
    }

    pub(super) fn signed(&self, manifest: &Manifest) -> VerifiedManifest {
        let signed = manifest.sign(self).unwrap();
        VerifiedManifest::verify(&signed, &self.public()).unwrap()
    }
}

impl Sign for Key {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self
            .0
            .sign(&SystemRandom::new(), bytes)
            .unwrap()
            .as_ref()
            .to_vec())
    }
}

pub(super) fn digest(name: &str) -> Sha384 {
    Sha384::of(name.as_bytes())
}

pub(super) fn component(phase: Phase, name: &str) -> Component {
    Component {
        phase,
        name: name.into(),
        path: Some(format!("/usr/lib/bartizan/{name}")),
        sha384: vec![digest(name)],
        start: None,
    }
}

pub(super) fn start(phase: Phase, arguments: &[&str]) -> Option<Start> {
    Some(Start {
        phase,
        user: "nobody".into(),
        arguments: arguments.iter().map(|text| (*text).into()).collect(),
        capabilities: Vec::new(),
        inherits: Vec::new(),
        link: None,
        environment: Vec::new(),
    })
}

pub(super) fn linked(start: Option<Start>, link: Link) -> Option<Start> {
    let link = Some(link);
    start.map(|start| Start { link, ..start })
}

pub(super) fn base() -> Manifest {
    let mut vault = component(Phase::Card, "vault");
    let arguments = &["--config", "{vault.yaml}"];
    vault.start = linked(start(Phase::Card, arguments), Link::Vault);
    let mut stage1 = component(Phase::Devices, "stage1");
    stage1.start = linked(start(Phase::Devices, &[]), Link::Coordinator);
    Manifest {
        product: "bartizan".into(),
        part: Part::Base,
        version: 7,
        components: vec![
            component(Phase::Card, "vault.yaml"),
            vault,
            component(Phase::Card, "card"),
            component(Phase::Devices, "devices"),
            component(Phase::Devices, "qemu/qemu-system-x86_64"),
            stage1,
        ],
    }
}

pub(super) fn bundle() -> Manifest {
    let mut stage2 = component(Phase::Coordinator, "stage2");
    stage2.path = None;
    stage2.start = linked(start(Phase::Coordinator, &[]), Link::Coordinator);
    Manifest {
        product: "bartizan".into(),
        part: Part::Bundle,
        version: 3,
        components: vec![
            stage2,
            component(Phase::Hypervisor, "hypervisor"),
            component(Phase::Hypervisor, "measurer"),
            component(Phase::Enclave, "enclave/kernel"),
        ],
    }
}

/// A step of a boot.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Accept(VerifiedManifest),
    Measure(String, Sha384),
    Complete(Phase),
}

/// The steps of a boot as it must be.
pub(super) fn steps(key: &Key) -> Vec<Step> {
    let mut steps = Vec::new();
    for manifest in [base(), bundle()] {
        steps.push(Step::Accept(key.signed(&manifest)));
        for phase in Phase::ALL
            .into_iter()
            .filter(|phase| phase.part() == manifest.part)
        {
            for component in manifest.of(phase) {
                steps.push(Step::Measure(component.name.clone(), component.sha384[0]));
            }
            steps.push(Step::Complete(phase));
        }
    }
    steps
}

/// A boot, its log beside it.
pub(super) struct Boot {
    pub(super) sequence: Sequence,
    pub(super) log: EventLog,
}

impl Boot {
    pub(super) fn new(key: &Key) -> Self {
        Self {
            sequence: Sequence::new(key.public().sha256()),
            log: EventLog::default(),
        }
    }

    pub(super) fn take(&mut self, step: Step) -> Result<(), Refusal> {
        let events = match step {
            Step::Accept(manifest) => self.sequence.accept(manifest, 0),
            Step::Measure(name, sha384) => self.sequence.measure(&name, sha384),
            Step::Complete(phase) => self.sequence.complete(phase),
        };
        match events {
            Ok(events) => self.keep(events),
            Err(refusal) => {
                let events = self.sequence.fail(&refusal);
                self.keep(events);
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn keep(&mut self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.log.push(event));
    }
}

/// A boot that went well.
pub(super) fn booted(key: &Key) -> Boot {
    let mut boot = Boot::new(key);
    for step in steps(key) {
        boot.take(step).unwrap();
    }
    boot
}
