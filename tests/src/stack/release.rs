//! The releases that a host of the stack is booted from: described, signed with a release key of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::configs::COORDINATOR_SOCKET;
use crate::layout::{Layout, text};
use crate::operator::Operator;

/// A release key and what was signed with it.
#[derive(Clone, Debug)]
pub struct Releases {
    folder: PathBuf,
    operator: Operator,
    /// SHA-256 over the SubjectPublicKeyInfo of the release key.
    pub key_sha256: String,
    /// What the vault is started with in its environment, `NAME=VALUE`.
    pub vault_environment: Vec<String>,
}

/// The configurations of a host's daemons.
#[derive(Clone, Debug)]
pub struct Configs {
    /// The vault's.
    pub vault: String,
    /// The card's.
    pub card: String,
    /// The devices'.
    pub devices: String,
    /// The hypervisor's.
    pub hypervisor: String,
    /// The fleet CA's certificate.
    pub fleet_ca: String,
    /// The enclave's, if the host has one.
    pub enclave: Option<EnclaveConfigs>,
}

/// The configurations of an enclave.
#[derive(Clone, Debug)]
pub struct EnclaveConfigs {
    /// The keeper's.
    pub keeper: String,
    /// The enclave's own.
    pub enclave: String,
    /// Its kernel's command line.
    pub command_line: String,
}

/// Where releases and their key are in a host's layout.
const FOLDER: &str = "release";
/// The private half.
const KEY: &str = "release.pk8";

/// What the hypervisor needs beyond its user's rights: to start QEMU and measurers as other users, to signal them, and
/// to make their control groups.
const HYPERVISOR_CAPABILITIES: &[&str] = &["setuid", "setgid", "kill", "dac_override"];

/// What the keeper needs beyond its user's rights: as the hypervisor.
const KEEPER_CAPABILITIES: &[&str] = HYPERVISOR_CAPABILITIES;

/// What QEMU opens by name, and where Debian has it: the translator, and what a kernel is loaded by.
const QEMU_FINDS: &[(&str, &str, &[&str])] = &[
    (
        "modules",
        "/usr/lib/x86_64-linux-gnu/qemu",
        &["accel-tcg-x86_64.so"],
    ),
    (
        "firmware",
        "/usr/share/seabios",
        &["bios-256k.bin", "bios-microvm.bin"],
    ),
    (
        "firmware",
        "/usr/share/qemu",
        &["kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin", "qboot.rom"],
    ),
    ("firmware", "/usr/lib/ipxe/qemu", &["efi-virtio.rom"]),
];

impl Releases {
    /// A release key.
    pub fn new(layout: &Layout, operator: &Operator) -> Result<Self> {
        let key = Self::key_file(layout)?;
        let made = operator.must(&["release", "key", &text(&key)?])?;
        Self::of_made(layout, operator, &made)
    }

    /// Of a release key that was made at [`Releases::key_file`]; `made` is what the command said.
    pub fn of_made(layout: &Layout, operator: &Operator, made: &Value) -> Result<Self> {
        Ok(Self {
            folder: layout.path(FOLDER),
            operator: operator.clone(),
            key_sha256: made["sha256"].as_str().context("a key has an id")?.into(),
            vault_environment: Vec::new(),
        })
    }

    /// Where the release key is, in a folder that is made.
    pub fn key_file(layout: &Layout) -> Result<PathBuf> {
        let folder = layout.path(FOLDER);
        fs::create_dir_all(&folder)?;
        Ok(folder.join(KEY))
    }

    /// The same, registered by another operator from now on.
    #[must_use]
    pub fn by(&self, operator: &Operator) -> Self {
        Self {
            operator: operator.clone(),
            ..self.clone()
        }
    }

    /// The same key, for another host's releases.
    pub fn with_key_of(layout: &Layout, other: &Self) -> Result<Self> {
        let folder = layout.path(FOLDER);
        fs::create_dir_all(&folder)?;
        for name in [KEY, "release.pk8.pub"] {
            fs::copy(other.folder.join(name), folder.join(name))?;
        }
        Ok(Self {
            folder,
            operator: other.operator.clone(),
            key_sha256: other.key_sha256.clone(),
            vault_environment: Vec::new(),
        })
    }

    /// Registers base and bundle with the verifier.
    pub fn register(&self) -> Result<()> {
        self.register_one(&self.base())?;
        self.register_one(&self.bundle())
    }

    /// Registers and publishes a bundle.
    pub fn publish(&self, bundle: &Path) -> Result<()> {
        self.register_one(bundle)?;
        self.operator
            .must(&["release", "publish", &text(bundle)?])?;
        Ok(())
    }

    /// Registers one release.
    pub fn register_one(&self, release: &Path) -> Result<()> {
        let (release, key) = (text(release)?, text(&self.public_key())?);
        self.operator
            .must(&["release", "register", &release, "--key", &key])?;
        Ok(())
    }

    /// The arguments of the coordinator's first stage, where it asks the verifier.
    pub fn from_verifier(layout: &Layout) -> Result<Vec<String>> {
        let card = text(&layout.path(COORDINATOR_SOCKET))?;
        let arguments = ["--from", "verifier", "--card", &card];
        let key = ["--release-key", "{release.pub}", "--patience", "0"];
        let all = arguments.into_iter().chain(key);
        Ok(all.map(ToOwned::to_owned).collect())
    }

    /// Another release key, with releases of its own.
    pub fn another(&self, layout: &Layout) -> Result<Self> {
        Self::new(layout, &self.operator)
    }

    /// Who signs and registers them.
    #[must_use]
    pub const fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The public half of the release key.
    #[must_use]
    pub fn public_key(&self) -> PathBuf {
        self.folder.join("release.pk8.pub")
    }

    /// The signed base.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.folder.join("base.release")
    }

    /// The signed bundle.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.folder.join("bundle.release")
    }

    /// Signs what `describe` makes of a release of the host, in these versions.
    pub fn sign(&self, layout: &Layout, configs: &Configs, versions: [u64; 2]) -> Result<()> {
        self.sign_one(
            &self.base(),
            &self.describe_base(layout, configs, versions[0])?,
        )?;
        let bundle = Self::describe_bundle(layout, configs, versions[1])?;
        self.sign_one(&self.bundle(), &bundle)
    }

    /// Signs a description.
    pub fn sign_one(&self, to: &Path, description: &Value) -> Result<()> {
        let described = to.with_extension("yaml");
        fs::write(&described, description.to_string())?;
        let key = self.folder.join(KEY);
        self.operator.must(&[
            "release",
            "sign",
            &text(&described)?,
            "--key",
            &text(&key)?,
            "--output",
            &text(to)?,
        ])?;
        Ok(())
    }

    /// The description of the base.
    pub fn describe_base(&self, layout: &Layout, configs: &Configs, version: u64) -> Result<Value> {
        let program = |name: &str| text(&layout.program(name));
        let mut description = json!({
            "product": "bartizan", "part": "base", "version": version,
            "components": [
                { "name": "bartizan-launcher", "phase": "card", "path": program("bartizan-launcher")? },
                { "name": "vault.yaml", "phase": "card", "path": configs.vault },
                {
                    "name": "bartizan-vault", "phase": "card", "path": program("bartizan-vault")?, "expand": "libraries",
                    "start": {
                        "user": "bartizan-vault", "arguments": ["--config", "{vault.yaml}"], "link": "vault",
                        "environment": self.vault_environment,
                    },
                },
                { "name": "card.yaml", "phase": "card", "path": configs.card },
                {
                    "name": "bartizan-card", "phase": "card", "path": program("bartizan-card")?, "expand": "libraries",
                    "start": { "user": "bartizan-card", "arguments": ["run", "--config", "{card.yaml}"] },
                },
                { "name": "release.pub", "phase": "card", "path": text(&self.public_key())? },
                {
                    "name": "bartizan-stage1", "phase": "card", "path": program("bartizan-stage1")?, "expand": "libraries",
                    "start": {
                        "phase": "devices", "user": "bartizan-coordinator", "link": "coordinator",
                        "arguments": ["--release-key", "{release.pub}", "--bundle", text(&self.bundle())?],
                    },
                },
                { "name": "devices.yaml", "phase": "devices", "path": configs.devices },
                {
                    "name": "bartizan-devices", "phase": "devices", "path": program("bartizan-devices")?, "expand": "libraries",
                    "start": { "user": "bartizan-devices", "arguments": ["--config", "{devices.yaml}"] },
                },
                { "name": "qemu-system-x86_64", "phase": "devices", "path": "/usr/bin/qemu-system-x86_64", "expand": "libraries" },
            ],
        });
        let components = description["components"]
            .as_array_mut()
            .context("components")?;
        // Preloaded, as all its libraries are.
        components.push(json!({
            "name": "qemu-system-x86_64/lib/libbartizan_tracked.so", "phase": "devices", "path": program("libbartizan_tracked.so")?,
        }));
        for (kind, folder, names) in QEMU_FINDS {
            for name in *names {
                let path = Path::new(folder).join(name);
                if path.exists() {
                    components.push(json!({
                        "name": format!("qemu-system-x86_64/{kind}/{name}"), "phase": "devices", "path": text(&path)?,
                    }));
                }
            }
        }
        Ok(description)
    }

    /// The description of the bundle.
    pub fn describe_bundle(layout: &Layout, configs: &Configs, version: u64) -> Result<Value> {
        let program = |name: &str| text(&layout.program(name));
        let mut description = json!({
            "product": "bartizan", "part": "bundle", "version": version,
            "components": [
                {
                    "name": "bartizan-stage2", "phase": "coordinator", "file": program("bartizan-stage2")?, "expand": "libraries",
                    "start": { "user": "bartizan-coordinator", "link": "coordinator" },
                },
                { "name": "hypervisor.yaml", "phase": "hypervisor", "path": configs.hypervisor },
                { "name": "fleet-ca.pem", "phase": "hypervisor", "path": configs.fleet_ca },
                { "name": "bartizan-supervisor", "phase": "hypervisor", "path": program("bartizan-supervisor")?, "expand": "libraries" },
                { "name": "bartizan-measurer", "phase": "hypervisor", "path": program("bartizan-measurer")?, "expand": "libraries" },
                {
                    "name": "bartizan-hypervisor", "phase": "hypervisor", "path": program("bartizan-hypervisor")?, "expand": "libraries",
                    "start": {
                        "user": "bartizan-hypervisor", "arguments": ["--config", "{hypervisor.yaml}"],
                        "capabilities": HYPERVISOR_CAPABILITIES,
                        "inherits": ["fleet-ca.pem", "bartizan-supervisor", "bartizan-measurer", "qemu-system-x86_64"],
                    },
                },
            ],
        });
        if let Some(enclave) = &configs.enclave {
            let components = description["components"].as_array_mut();
            let components = components.context("components")?;
            components.extend(Self::describe_enclave(layout, enclave)?);
        }
        Ok(description)
    }

    fn describe_enclave(layout: &Layout, configs: &EnclaveConfigs) -> Result<Vec<Value>> {
        let file =
            |name: &str, path: &str| json!({ "name": name, "phase": "enclave", "path": path });
        Ok(vec![
            file("enclave/kernel", &text(&layout.enclave.join("kernel"))?),
            file("enclave/image", &text(&layout.enclave.join("image"))?),
            file("enclave/command-line", &configs.command_line),
            file("enclave/config", &configs.enclave),
            file("keeper.yaml", &configs.keeper),
            json!({
                "name": "bartizan-keeper", "phase": "enclave", "path": text(&layout.program("bartizan-keeper"))?,
                "expand": "libraries",
                "start": {
                    "user": "bartizan-keeper", "arguments": ["--config", "{keeper.yaml}"],
                    "capabilities": KEEPER_CAPABILITIES,
                    "inherits": ["enclave", "qemu-system-x86_64"],
                },
            }),
        ])
    }
}
