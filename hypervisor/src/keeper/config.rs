//! The keeper's configuration: one YAML file, checked whole before anything is started.

use std::path::{Path, PathBuf};

use bartizan_local::measured::{Handed, NotHanded};
use serde::{Deserialize, Deserializer};

use super::group::Limits;
use crate::qemu::accelerator::AcceleratorChoice;
use crate::qemu::parts::Parts;
use crate::qemu::process::User;

/// Configuration of `bartizan-keeper`. Paths may be `measured:NAME`: a file that the launcher measured and handed over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of run-time state, which is made.
    pub run_dir: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The image.
    pub image: PathBuf,
    /// The enclave's configuration.
    pub config: PathBuf,
    /// The kernel's command line.
    pub command_line: PathBuf,
    /// QEMU.
    pub qemu: Qemu,
    /// Where links lead.
    pub links: Links,
    /// KVM or TCG; chosen by probing if absent.
    #[serde(default)]
    pub accelerator: AcceleratorChoice,
    /// The machine's RAM in MiB.
    #[serde(default = "memory_mib")]
    pub memory_mib: u32,
    /// Limits of QEMU's control group.
    #[serde(default)]
    pub limits: Limits,
    /// How long the machine may take until it opens its link to the card, in seconds; then another is started.
    #[serde(default = "start_s")]
    pub start_s: u32,
    /// How long the machine may leave its hypervisor unanswered, in seconds; then another is started. What it computes in one go, as a set of
    /// policies that comes into force, takes less.
    #[serde(default = "silence_s")]
    pub silence_s: u32,
    /// What QEMU is made of, where the launcher measured it.
    #[serde(skip)]
    pub parts: Option<Parts>,
}

/// QEMU, and whom it runs as.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// Its program.
    pub program: PathBuf,
    /// A user of its own. Every configuration names it; `None`, the keeper's own, is for a keeper without the rights to become
    /// another.
    #[serde(deserialize_with = "named")]
    pub user: Option<User>,
}

/// The Unix sockets to which the ports are connected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The card's own.
    pub card: PathBuf,
    /// The hypervisor's.
    pub hypervisor: PathBuf,
    /// The card's, which forwards to the verifier.
    pub verifier: PathBuf,
    /// The card's, at which this keeper tells how the machine is; nobody is told if absent.
    #[serde(default)]
    pub status: Option<PathBuf>,
}

const fn memory_mib() -> u32 {
    384
}

const fn start_s() -> u32 {
    60
}

const fn silence_s() -> u32 {
    15
}

fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<User>, D::Error> {
    User::deserialize(from).map(Some)
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration; the message has line and column.
    #[error("{path} is no keeper configuration: {source}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// A file that was not handed over.
    #[error(transparent)]
    NotHanded(#[from] NotHanded),
    /// The enclave would run as root.
    #[error("`qemu.user` must not be 0, which is root")]
    Root,
    /// Times in which nothing is answered.
    #[error("neither `start_s` nor `silence_s` may be 0: no machine answers at once")]
    AtOnce,
    /// Limits within which nothing runs.
    #[error(
        "no limit of `limits` may be 0: nothing runs within that; leave it out to have its default"
    )]
    Limits,
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let mut config: Self =
            serde_saphyr::from_str(&text).map_err(|source| ConfigError::Malformed {
                path: path.into(),
                source: Box::new(source),
            })?;
        if (config.qemu.user).is_some_and(|user| user.uid == 0 || user.gid == 0) {
            return Err(ConfigError::Root);
        }
        if !config.limits.are_sound() {
            return Err(ConfigError::Limits);
        }
        if config.start_s == 0 || config.silence_s == 0 {
            return Err(ConfigError::AtOnce);
        }
        let handed = Handed::to_this_process();
        if let Some(name) = Handed::name(&config.qemu.program) {
            let folder = config.run_dir.join("qemu");
            config.parts = Some(Parts::handed(&handed, name, folder)?);
        }
        for path in [
            &mut config.kernel,
            &mut config.image,
            &mut config.config,
            &mut config.command_line,
            &mut config.qemu.program,
        ] {
            *path = handed.resolve(path)?;
        }
        Ok(config)
    }
}
