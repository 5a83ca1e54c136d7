//! The vault's configuration: one YAML file, checked whole before the socket is bound.

mod devices;

use std::path::{Path, PathBuf};

use bartizan_attestation::certificates;
use bartizan_attestation::keys::Purpose;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub use devices::{Connects, PinSource, Tcti, TokenConfig, TpmConfig, UnknownTcti};

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
    /// How private keys are kept from everybody else: which back end, of which there is one.
    pub sealing: Sealing,
    /// Whose vault it is.
    pub role: Role,
    /// Operators beside the fleet's first, who may have certificates: the verifier cannot add any.
    #[serde(default)]
    pub operators: Vec<NamedOperator>,
    /// The measured boot that a host's keys wait for. Without it they are open from the start, and its certificates say that
    /// no boot was measured.
    #[serde(default)]
    pub measured_boot: Option<MeasuredBoot>,
}

/// A measured boot.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredBoot {
    /// SHA-256 over the DER SubjectPublicKeyInfo of the key that signs releases, 64 lower-case hexadecimal digits.
    #[serde(deserialize_with = "hexadecimal")]
    pub release_key: [u8; 32],
}

fn hexadecimal<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    let mut bytes = [0; 32];
    match hex::decode_to_slice(&text, &mut bytes) {
        Ok(()) if hex::encode(bytes) == text => Ok(bytes),
        _ => Err(D::Error::custom(
            "expected 64 lower-case hexadecimal digits",
        )),
    }
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

/// What seals or holds the keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sealing {
    /// A file of 32 random bytes, mode 0600; made if there is none.
    KeyFile(PathBuf),
    /// A file with a passphrase, mode 0600.
    PassphraseFile(PathBuf),
    /// A TPM 2.0.
    Tpm2(TpmConfig),
    /// A PKCS #11 token.
    Pkcs11(TokenConfig),
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
    /// A PCR that cannot be a register.
    #[error("PCR {pcr} is none, or can be reset: use others than 16 and 23, below 24")]
    Pcr {
        /// Which.
        pcr: u8,
    },
    /// Of the PCRs beyond 15 software resets some, and extends none of the others (TCG PC Client Platform TPM Profile 1.05
    /// section 4.6: dynamic root of trust).
    #[error("PCR {pcr} cannot be a register: use one below 16")]
    Register {
        /// Which.
        pcr: u8,
    },
    /// One PCR is to be two things.
    #[error(
        "`measurement_pcr`, `authority_pcr`, `host_pcrs` and `quoted_pcrs` must all be different PCRs"
    )]
    SharedPcr,
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
        if let Sealing::Tpm2(tpm) = &self.sealing {
            tpm.check()?;
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
mod tests;
