//! Releases of stand-ins, and where they write what they were told.

use std::fs::{File, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_boot::{Bundle, Component, Link, Manifest, Part, Phase, Sha384, Start, VaultStep};
use bartizan_cose::{Curve, PublicKey, Sign, SignError};
use bartizan_local::read_frame;

use crate::stand_in::{
    DAEMON, HYPERVISOR, KILLED_AT, PROGRAM, ROLE, SETTINGS, SWAPS_IN, TOLD, VAULT,
};

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
    /// Files are swapped as soon as they were hashed.
    FilesSwapped,
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

    /// Somebody swaps the files of its daemons as soon as they were hashed.
    pub(crate) fn whose_files_are_swapped() -> Self {
        Self::with(Fault::FilesSwapped)
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
            let folder = self.folder().display();
            let environment = &mut start.environment;
            environment.push(format!("{TOLD}={folder}/told"));
            match self.fault {
                Fault::VaultKilledAt(step) => environment.push(format!("{KILLED_AT}={step}")),
                Fault::FilesSwapped => environment.push(format!("{SWAPS_IN}={folder}")),
                Fault::HypervisorEnds => {}
            }
        }
        let link = Some(Link::Coordinator);
        let stage1 = stand_in(Phase::Card, "stage1", Phase::Devices, link);
        let mut components = vec![vault];
        components.extend(match self.fault {
            Fault::FilesSwapped => self.daemon(Phase::Card, "card"),
            _ => Vec::new(),
        });
        components.push(stage1);
        components.extend(match self.fault {
            Fault::FilesSwapped => self.daemon(Phase::Devices, "devices"),
            _ => vec![self.file(Phase::Devices, "devices", "devices")],
        });
        self.sign(Part::Base, components)
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        let (phase, next) = (Phase::Coordinator, Phase::Hypervisor);
        let mut components = vec![stand_in(phase, "stage2", phase, Some(Link::Coordinator))];
        components.extend(match self.fault {
            Fault::VaultKilledAt(_) => vec![self.file(next, HYPERVISOR, HYPERVISOR)],
            Fault::HypervisorEnds => vec![stand_in(next, HYPERVISOR, next, None)],
            Fault::FilesSwapped => self.daemon(next, HYPERVISOR),
        });
        components.push(self.file(Phase::Enclave, "enclave/kernel", "kernel"));
        let bundle = Bundle {
            manifest: self.sign(Part::Bundle, components).into(),
            files: Vec::new(),
        };
        bundle.to_bytes()
    }

    /// A daemon that takes its settings from a file, both in the host's folder.
    fn daemon(&self, phase: Phase, name: &str) -> Vec<Component> {
        let settings = format!("{name}.yaml");
        let program = self.folder().join(name);
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut start = start(phase, DAEMON, None);
        start.arguments.push(format!("{{{settings}}}"));
        let daemon = Component {
            start: Some(start),
            ..component(phase, name, &program)
        };
        vec![self.file(phase, &settings, SETTINGS), daemon]
    }

    fn file(&self, phase: Phase, name: &str, contents: &str) -> Component {
        let path = self.folder().join(name.replace('/', "-"));
        std::fs::write(&path, contents).unwrap();
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
    Component {
        start: Some(start(started, role, link)),
        ..component(phase, role, &std::env::current_exe().unwrap())
    }
}

fn start(phase: Phase, role: &str, link: Option<Link>) -> Start {
    Start {
        phase,
        user: "nobody".into(),
        arguments: PROGRAM.map(Into::into).into(),
        capabilities: Vec::new(),
        inherits: Vec::new(),
        link,
        environment: vec![format!("{ROLE}={role}")],
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
