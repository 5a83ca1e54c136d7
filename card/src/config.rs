//! The card's configuration: one YAML file, checked whole before the socket is bound.

use std::path::{Path, PathBuf};

use bartizan_channel::https::Endpoint;
use serde::Deserialize;

/// Configuration of `bartizan-card`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The socket it serves.
    pub socket: PathBuf,
    /// Users that may ask: the hypervisor's.
    pub allowed_uids: Vec<u32>,
    /// The socket at which it serves operators.
    pub operations_socket: PathBuf,
    /// Users that may connect there. What they may have done their orders' signatures say.
    pub operators_uids: Vec<u32>,
    /// The hypervisor's operator socket, whose `allowed_uids` name this process's user and no other.
    pub hypervisor_socket: PathBuf,
    /// Where the coordinator's first stage has bundles fetched; nowhere if absent.
    #[serde(default)]
    pub coordinator: Option<Coordinator>,
    /// Where the enclave's keeper connects for it; nowhere if absent.
    #[serde(default)]
    pub enclave: Option<Enclave>,
    /// The vault's socket.
    pub vault_socket: PathBuf,
    /// Folder of the boot counters, of the log of operations and of the enclave's sealed state.
    pub state_dir: PathBuf,
    /// Where the verifier is.
    pub verifier: Verifier,
    /// For how many seconds guests are launched, and operations done, on what the verifier said last of their operator, while it
    /// is away.
    #[serde(default)]
    pub launch_grace_s: u64,
    /// Whether another key comes after the card identity's present one when its certificate is half gone, twice a year. Otherwise the
    /// certificate is renewed for the key that it is of.
    #[serde(default = "yes")]
    pub rotate_identity: bool,
    /// What this machine is called where it reports in; the name that the kernel has for it if absent.
    #[serde(default)]
    pub machine: Option<String>,
}

const fn yes() -> bool {
    true
}

/// The coordinator's first stage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinator {
    /// The socket at which it is served.
    pub socket: PathBuf,
    /// Users that may ask there: its own.
    pub allowed_uids: Vec<u32>,
}

/// The enclave's links.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enclave {
    /// The socket of its link to the card.
    pub socket: PathBuf,
    /// The socket from which bytes are moved to the verifier, and back.
    pub verifier_socket: PathBuf,
    /// The socket at which the keeper tells how the machine is; nowhere if absent.
    #[serde(default)]
    pub keeper_socket: Option<PathBuf>,
    /// Users that may connect to all of them: the keeper's, and nobody else, since the vault certifies for whoever connects.
    pub allowed_uids: Vec<u32>,
}

/// Where the verifier is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The name that its certificate carries; `host` if absent.
    #[serde(default)]
    pub server_name: Option<String>,
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
    #[error("{path} is no card configuration: {source}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        serde_saphyr::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.into(),
            source: Box::new(source),
        })
    }
}

impl Verifier {
    /// Where to connect.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let server_name = self
            .server_name
            .clone()
            .unwrap_or_else(|| self.host.clone());
        Endpoint {
            host: self.host.clone(),
            port: self.port,
            server_name,
        }
    }
}
