//! Releases of stand-ins, and where they write what they were told.

use std::fs::{File, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_boot::{Bundle, Component, Link, Manifest, Part, Phase, Sha384, Start, VaultStep};
use bartizan_cose::{Curve, PublicKey, Sign, SignError};
use bartizan_local::read_frame;

use crate::stand_in::{HYPERVISOR, KILLED_AT, PROGRAM, ROLE, TOLD, VAULT};

pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_point(Curve::P384, self.0.public_key().as_ref()).unwrap()
    }
}

impl Sign for Key {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&SystemRandom::new(), bytes);
        Ok(signature.unwrap().as_ref().to_vec())
    }
}

/// A host, what it is booted from, and the folder of its files and sockets.
pub(crate) struct Host {
    pub(crate) key: Key,
    folder: tempfile::TempDir,
    fault: Fault,
}

/// What goes wrong.
#[derive(Clone, Copy)]
enum Fault {
    /// The vault is killed as soon as it hears of that.
    VaultKilledAt(&'static str),
    /// The hypervisor ends before it is ready.
    HypervisorEnds,
}

impl Host {
    /// Its vault is killed as soon as it hears of that.
    pub(crate) fn whose_vault_is_killed_at(killed_at: &'static str) -> Self {
        Self::with(Fault::VaultKilledAt(killed_at))
    }

    /// Its hypervisor ends before it is ready.
    pub(crate) fn whose_hypervisor_ends() -> Self {
        Self::with(Fault::HypervisorEnds)
    }

    fn with(fault: Fault) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The stand-ins are of another user, and find the launcher's sockets here.
        set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self {
            key: Key(key),
            folder,
            fault,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What its vaults were told, one after the other.
    pub(crate) fn told(&self) -> Vec<VaultStep> {
        let mut told = File::open(self.folder().join("told")).unwrap();
        std::iter::from_fn(|| read_frame(&mut told, VaultStep::MAX_FRAME).ok()).collect()
    }

    pub(crate) fn base(&self) -> Vec<u8> {
        let mut vault = stand_in(Phase::Card, VAULT, Phase::Card, Some(Link::Vault));
        if let Some(start) = &mut vault.start {
            let told = self.folder().join("told");
            start.environment.push(format!("{TOLD}={}", told.display()));
            if let Fault::VaultKilledAt(step) = self.fault {
                start.environment.push(format!("{KILLED_AT}={step}"));
            }
        }
        let link = Some(Link::Coordinator);
        let stage1 = stand_in(Phase::Card, "stage1", Phase::Devices, link);
        let devices = self.file(Phase::Devices, "devices");
        self.sign(Part::Base, vec![vault, stage1, devices])
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        let (phase, next) = (Phase::Coordinator, Phase::Hypervisor);
        let hypervisor = match self.fault {
            Fault::VaultKilledAt(_) => self.file(next, HYPERVISOR),
            Fault::HypervisorEnds => stand_in(next, HYPERVISOR, next, None),
        };
        let components = vec![
            stand_in(phase, "stage2", phase, Some(Link::Coordinator)),
            hypervisor,
            self.file(Phase::Enclave, "enclave/kernel"),
        ];
        let bundle = Bundle {
            manifest: self.sign(Part::Bundle, components).into(),
            files: Vec::new(),
        };
        bundle.to_bytes()
    }

    fn file(&self, phase: Phase, name: &str) -> Component {
        let path = self.folder().join(name.replace('/', "-"));
        std::fs::write(&path, name).unwrap();
        component(phase, name, &path)
    }

    fn sign(&self, part: Part, components: Vec<Component>) -> Vec<u8> {
        let manifest = Manifest {
            product: "test".into(),
            part,
            version: 1,
            components,
        };
        manifest.sign(&self.key).unwrap()
    }
}

/// This program, playing that role.
fn stand_in(phase: Phase, role: &str, started: Phase, link: Option<Link>) -> Component {
    let start = Start {
        phase: started,
        user: "nobody".into(),
        arguments: PROGRAM.map(Into::into).into(),
        capabilities: Vec::new(),
        inherits: Vec::new(),
        link,
        environment: vec![format!("{ROLE}={role}")],
    };
    Component {
        start: Some(start),
        ..component(phase, role, &std::env::current_exe().unwrap())
    }
}

fn component(phase: Phase, name: &str, path: &PathBuf) -> Component {
    Component {
        phase,
        name: name.into(),
        path: Some(path.to_str().unwrap().into()),
        sha384: vec![Sha384::of(&std::fs::read(path).unwrap())],
        start: None,
    }
}
