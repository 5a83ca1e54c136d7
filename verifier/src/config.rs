//! The configuration file, checked as a whole before anything is opened or bound.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_attestation::appraisal::MAX_CLOCK_SKEW_MS;
use bartizan_attestation::result::MAX_LIFETIME_S;
use bartizan_policy::Authors;
use serde::Deserialize;

use crate::nonces::NonceLimits;

mod firmware;
mod keeping;
mod limits;
mod measured_boot;
#[cfg(test)]
mod tests;
mod tpm_makers;

pub use firmware::{
    DemandedPcrs, FirmwareDemand, FirmwarePcrs, FirmwarePcrsError, is_firmware_pcr,
};
pub use keeping::{Keep, QuotaLimits, Retention};
pub use limits::Limits;
pub use measured_boot::{
    MeasuredBoot, RegisterPcrs, RegisterPcrsError, ReleaseKey, ReleaseKeyError,
};
pub use tpm_makers::TpmMakers;

/// Longest lifetime of a TLS server's and a token key's certificate, in seconds: the vault certifies for no longer.
const MAX_KEY_LIFETIME_S: u64 = 7 * 86_400;

/// A number of the configuration: its name, what it is, the least and the most it may be.
type Range = (&'static str, u64, u64, u64);

/// The configuration, as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen at, each `ip:port`.
    pub listen: Vec<SocketAddr>,
    /// DNS names and IP addresses that clients reach the verifier by; they go into its certificate.
    pub names: Vec<String>,
    /// The SQLite database; made if there is none.
    pub database: PathBuf,
    /// The Unix socket of the verifier's vault.
    pub vault_socket: PathBuf,
    /// Name of the fleet: the common name of its CA.
    pub fleet_name: String,
    /// What hosts must have been booted from.
    pub measured_boot: MeasuredBoot,
    /// CA certificates of TPM makers, PEM. Without them no host enrols with a TPM.
    #[serde(default)]
    pub tpm_makers: Option<TpmMakers>,
    /// Who may write policies, and which. Enclaves have their own: what is refused here would be refused there, or is held to a
    /// wider scope. Without authors no policy is applied.
    #[serde(default)]
    pub policy_authors: Authors,
    /// Lifetime of an attestation result in seconds, at most
    /// [`MAX_LIFETIME_S`].
    #[serde(default = "five_minutes")]
    pub token_lifetime_s: u64,
    /// How old a report may be, and how far in the future, in seconds; at most
    /// [`MAX_CLOCK_SKEW_MS`].
    #[serde(default = "one_minute")]
    pub report_window_s: u64,
    /// Lifetime of a nonce in seconds.
    #[serde(default = "one_minute")]
    pub nonce_lifetime_s: u64,
    /// Lifetime of the TLS server's certificate in seconds; rotated at half.
    #[serde(default = "one_day")]
    pub tls_lifetime_s: u64,
    /// Lifetime of a token key's certificate in seconds; rotated at half.
    #[serde(default = "one_day")]
    pub token_key_lifetime_s: u64,
    /// For how long what a host's card identity key certified is accepted once another key came after it, in seconds. A guest's key
    /// lasts a day.
    #[serde(default = "twenty_five_hours")]
    pub card_key_overlap_s: u64,
    /// Bounds on what clients may use.
    #[serde(default)]
    pub limits: Limits,
    /// How many verdicts there may be.
    #[serde(default)]
    pub verdicts: QuotaLimits,
    /// How long the evidence of verdicts is kept.
    #[serde(default)]
    pub retention: Retention,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or has an unknown, missing or ill-typed field.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// A list is empty that must not be.
    #[error("`{field}` is empty; name at least one")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A number is out of its range.
    #[error("`{field}` is {found}; it must be {least} to {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it is.
        found: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let config: Self =
            serde_saphyr::from_str(&text).map_err(|source| ConfigError::Malformed {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
        config.check()?;
        Ok(config)
    }

    /// Bounds of the nonces.
    #[must_use]
    pub fn nonce_limits(&self) -> NonceLimits {
        NonceLimits {
            lifetime: Duration::from_secs(self.nonce_lifetime_s),
            per_guest: self.limits.nonces_per_guest,
            per_host: self.limits.nonces_per_host,
            total: self.limits.nonces,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let texts = [
            ("listen", self.listen.is_empty()),
            (
                "names",
                self.names.is_empty() || self.names.iter().any(String::is_empty),
            ),
            ("database", self.database.as_os_str().is_empty()),
            ("vault_socket", self.vault_socket.as_os_str().is_empty()),
            ("fleet_name", self.fleet_name.is_empty()),
            (
                "release_keys",
                self.measured_boot.is_demanded() && self.measured_boot.signers().is_empty(),
            ),
        ];
        for (field, empty) in texts {
            if empty {
                return Err(ConfigError::Empty { field });
            }
        }
        let own = [
            ("token_lifetime_s", self.token_lifetime_s, 1, MAX_LIFETIME_S),
            (
                "report_window_s",
                self.report_window_s,
                1,
                MAX_CLOCK_SKEW_MS / 1000,
            ),
            ("nonce_lifetime_s", self.nonce_lifetime_s, 1, 3_600),
            (
                "tls_lifetime_s",
                self.tls_lifetime_s,
                60,
                MAX_KEY_LIFETIME_S,
            ),
            (
                "token_key_lifetime_s",
                self.token_key_lifetime_s,
                self.token_lifetime_s * 2,
                MAX_KEY_LIFETIME_S,
            ),
            (
                "card_key_overlap_s",
                self.card_key_overlap_s,
                1,
                MAX_KEY_LIFETIME_S,
            ),
        ];
        let ranges = (own.into_iter())
            .chain(self.limits.ranges())
            .chain(self.verdicts.ranges())
            .chain(self.retention.ranges());
        for (field, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                return Err(ConfigError::OutOfRange {
                    field,
                    found,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}

const fn one_minute() -> u64 {
    60
}

const fn five_minutes() -> u64 {
    300
}

const fn one_day() -> u64 {
    86_400
}

const fn twenty_five_hours() -> u64 {
    90_000
}
