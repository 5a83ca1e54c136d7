//! The vault's configuration: one YAML file, checked whole before the socket is bound.

use std::path::{Path, PathBuf};

use bartizan_attestation::certificates;
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
    /// Operators beside the fleet's first, who may have certificates: the verifier cannot add any.
    #[serde(default)]
    pub operators: Vec<NamedOperator>,
}

/// An operator who may have a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedOperator {
    /// The operator's name.
    pub name: String,
    /// SHA-256 over the DER SubjectPublicKeyInfo of the operator's key, 64 lower-case hexadecimal digits.
    pub key_sha256: String,
    /// What the operator may do: `observer`, `runner` or `administrator`.
    pub role: certificates::Role,
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
    /// The digest of an operator's key is none.
    #[error("`key_sha256` of operator `{name}` must be 64 lower-case hexadecimal digits")]
    KeyDigest {
        /// The operator.
        name: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let config: Self =
            serde_saphyr::from_str(&text).map_err(|source| ConfigError::Malformed {
                path: path.into(),
                source: Box::new(source),
            })?;
        config.check()
    }

    fn check(self) -> Result<Self, ConfigError> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        for operator in &self.operators {
            let digest = operator.key_sha256.as_bytes();
            if digest.len() != 64 || !digest.iter().copied().all(digit) {
                let name = operator.name.clone();
                return Err(ConfigError::KeyDigest { name });
            }
        }
        Ok(self)
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

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError};

    fn load(operators: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.yaml");
        let text = format!(
            "socket: /x\nallowed_uids: [1]\nstore: /x\nsealing: {{key_file: /x}}\nrole: verifier\n{operators}"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn an_operators_key_is_named_by_a_digest_and_nothing_else() {
        assert!(load("").unwrap().operators.is_empty());
        let named = |digest: &str| {
            load(&format!(
                "operators: [{{name: bob, key_sha256: '{digest}', role: runner}}]"
            ))
        };
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(named(&digest).unwrap().operators[0].key_sha256, digest);
        for wrong in [
            "",
            &digest[1..],
            &digest.to_uppercase(),
            &digest.replace('a', "g"),
        ] {
            let refused = named(wrong);
            assert!(
                matches!(refused, Err(ConfigError::KeyDigest { .. })),
                "{wrong}"
            );
        }
    }
}
