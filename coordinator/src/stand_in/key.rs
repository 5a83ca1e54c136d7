//! A release key, and what it signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_boot::{Bundle, Component, File, Link, Manifest, Part, Phase, Sha384, Start};
use bartizan_cose::{Curve, PublicKey, Sign, SignError};

pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_point(Curve::P384, self.0.public_key().as_ref()).unwrap()
    }

    /// A bundle of one stage.
    pub(crate) fn bundle(&self, version: u64) -> Vec<u8> {
        let stage2 = b"stage2".to_vec();
        let mut first = component(Phase::Coordinator, "stage2");
        first.path = None;
        let components = vec![first, component(Phase::Hypervisor, "hypervisor")];
        let bundle = Bundle {
            manifest: self.release(Part::Bundle, version, components).into(),
            files: vec![File {
                name: "stage2".into(),
                contents: stage2.into(),
            }],
        };
        bundle.to_bytes()
    }

    /// A base, in the clothes of a bundle.
    pub(crate) fn base(&self) -> Vec<u8> {
        let components = vec![
            component(Phase::Card, "card"),
            component(Phase::Devices, "devices"),
        ];
        let bundle = Bundle {
            manifest: self.release(Part::Base, 1, components).into(),
            files: Vec::new(),
        };
        bundle.to_bytes()
    }

    fn release(&self, part: Part, version: u64, components: Vec<Component>) -> Vec<u8> {
        let manifest = Manifest {
            product: "bartizan".into(),
            part,
            version,
            components,
        };
        manifest.sign(self).unwrap()
    }
}

impl Sign for Key {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&SystemRandom::new(), bytes);
        Ok(signature.unwrap().as_ref().to_vec())
    }
}

fn component(phase: Phase, name: &str) -> Component {
    Component {
        phase,
        name: name.into(),
        path: Some(format!("/usr/lib/bartizan/{name}")),
        sha384: vec![Sha384::of(name.as_bytes())],
        start: start(phase),
    }
}

/// What each boot needs of a phase: a vault, and a stage that leads on to the next part.
fn start(phase: Phase) -> Option<Start> {
    let link = match phase {
        Phase::Card => Link::Vault,
        Phase::Devices | Phase::Coordinator => Link::Coordinator,
        Phase::Hypervisor | Phase::Enclave => return None,
    };
    Some(Start {
        phase,
        user: "nobody".into(),
        arguments: Vec::new(),
        capabilities: Vec::new(),
        inherits: Vec::new(),
        link: Some(link),
        environment: Vec::new(),
    })
}
