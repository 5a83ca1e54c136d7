//! The vault's configuration: one YAML file, checked whole before the socket is bound.

use std::path::{Path, PathBuf};

use bartizan_attestation::keys::Purpose;
use serde::Deserialize;

/// Configuration of `bartizan-vault`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The socket it serves.
    pub socket: PathBuf,
    /// Users that may ask: the card's, or the verifier's.
    pub allowed_uids: Vec<u32>,
    /// The key store.
    pub store: PathBuf,
    /// How private keys are sealed.
    pub sealing: Sealing,
    /// Whose vault it is.
    pub role: Role,
}

/// Where the root key comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sealing {
    /// A file of 32 random bytes, mode 0600; made if there is none.
    KeyFile(PathBuf),
    /// A file with a passphrase, mode 0600.
    PassphraseFile(PathBuf),
}

/// Whose vault it is: decides which purposes it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A host's: card identity and what it certifies.
    Host,
    /// The verifier's: fleet CA, TLS server, tokens.
    Verifier,
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
    #[error("{path} is no vault configuration: {source}", path = .path.display())]
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

impl Role {
    /// Whether a vault of this role has keys of a purpose.
    pub const fn holds(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::FleetCa | Purpose::TlsServer | Purpose::Token => {
                matches!(self, Self::Verifier)
            }
            Purpose::CardIdentity | Purpose::TlsClient => matches!(self, Self::Host),
        }
    }
}
