//! The configuration file, checked as a whole before anything is opened or bound.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_attestation::appraisal::MAX_CLOCK_SKEW_MS;
use bartizan_attestation::result::MAX_LIFETIME_S;
use serde::Deserialize;

use crate::nonces::NonceLimits;

#[cfg(test)]
mod tests;

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
    /// Bounds on what clients may use.
    #[serde(default)]
    pub limits: Limits,
}

/// Bounds on what clients may use.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one IP address.
    pub connections_per_address: usize,
    /// Seconds for a TLS handshake.
    pub handshake_s: u64,
    /// Seconds for a request's head to arrive, from the answer before: also how long a connection may
    /// be idle.
    pub head_s: u64,
    /// Seconds for a request from its head to its answer, the arrival of its body included.
    pub request_s: u64,
    /// Seconds after which a connection is closed with its next answer.
    pub connection_s: u64,
    /// Bytes of a request's body, save those below.
    pub body_bytes: usize,
    /// Bytes of the body of a `POST /v1/reports`; a report of 24 MiB, the largest there is, has 32 MiB
    /// of base64url.
    pub report_body_bytes: usize,
    /// Bytes of the body of a `PUT /v1/profiles/{application}`.
    pub profile_body_bytes: usize,
    /// Bytes of all bodies that are read or judged at once.
    pub bodies_in_flight_bytes: usize,
    /// Outstanding nonces of one guest.
    pub nonces_per_guest: usize,
    /// Outstanding nonces of the guests of one host.
    pub nonces_per_host: usize,
    /// Nonces issued altogether within one nonce lifetime.
    pub nonces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            handshake_s: 10,
            head_s: 30,
            request_s: 30,
            connection_s: 600,
            body_bytes: 64 << 10,
            report_body_bytes: 34 << 20,
            profile_body_bytes: 16 << 20,
            bodies_in_flight_bytes: 256 << 20,
            nonces_per_guest: 1024,
            nonces_per_host: 65_536,
            nonces: 262_144,
        }
    }
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
        ];
        for (field, empty) in texts {
            if empty {
                return Err(ConfigError::Empty { field });
            }
        }
        let limits = &self.limits;
        let bytes = limits
            .report_body_bytes
            .max(limits.profile_body_bytes)
            .max(limits.body_bytes);
        let ranges = [
            ("token_lifetime_s", self.token_lifetime_s, 1, MAX_LIFETIME_S),
            (
                "report_window_s",
                self.report_window_s,
                1,
                MAX_CLOCK_SKEW_MS / 1000,
            ),
            ("nonce_lifetime_s", self.nonce_lifetime_s, 1, 3_600),
            ("tls_lifetime_s", self.tls_lifetime_s, 60, 30 * 86_400),
            (
                "token_key_lifetime_s",
                self.token_key_lifetime_s,
                self.token_lifetime_s * 2,
                30 * 86_400,
            ),
            ("limits.connections", limits.connections as u64, 1, 1 << 20),
            (
                "limits.connections_per_address",
                limits.connections_per_address as u64,
                1,
                1 << 20,
            ),
            ("limits.handshake_s", limits.handshake_s, 1, 600),
            ("limits.head_s", limits.head_s, 1, 600),
            ("limits.request_s", limits.request_s, 1, 600),
            ("limits.connection_s", limits.connection_s, 1, 86_400),
            ("limits.body_bytes", limits.body_bytes as u64, 1024, 1 << 30),
            (
                "limits.report_body_bytes",
                limits.report_body_bytes as u64,
                1024,
                1 << 30,
            ),
            (
                "limits.profile_body_bytes",
                limits.profile_body_bytes as u64,
                1024,
                1 << 30,
            ),
            (
                "limits.bodies_in_flight_bytes",
                limits.bodies_in_flight_bytes as u64,
                bytes as u64,
                1 << 40,
            ),
            (
                "limits.nonces_per_guest",
                limits.nonces_per_guest as u64,
                1,
                1 << 24,
            ),
            (
                "limits.nonces_per_host",
                limits.nonces_per_host as u64,
                1,
                1 << 24,
            ),
            ("limits.nonces", limits.nonces as u64, 1, 1 << 24),
        ];
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
