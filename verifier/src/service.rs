//! What all requests share.

use std::sync::{Arc, Mutex};

use bartizan_attestation::certificates::FleetCa;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::nonces::NonceBook;
use crate::profile_cache::ProfileCache;
use crate::storage::{Storage, VerdictLog};
use crate::token_keys::TokenKeys;
use crate::vault::Vault;

/// The verifier's parts.
#[derive(Debug)]
pub struct Service {
    /// Its configuration.
    pub config: Config,
    /// The trust anchor.
    pub fleet_ca: FleetCa,
    /// The database.
    pub storage: Storage,
    /// Where verdicts are recorded.
    pub verdicts: VerdictLog,
    /// The nonces that were issued.
    pub nonces: Mutex<NonceBook>,
    /// The vault.
    pub vault: Vault,
    /// The token keys.
    pub token_keys: TokenKeys,
    /// Parsed profiles.
    pub profiles: ProfileCache,
    /// One permit a KiB of the bodies that are read or judged at once.
    pub body_kib: Arc<Semaphore>,
    /// Counters.
    pub metrics: Metrics,
}

impl Service {
    /// The verifier's URL, as results name it.
    #[must_use]
    pub fn issuer(&self) -> String {
        let name = self.config.names.first().map_or("", String::as_str);
        match name.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("https://[{address}]"),
            Err(_) => format!("https://{name}"),
        }
    }
}
