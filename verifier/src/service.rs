//! What all requests share.

use std::sync::Mutex;

use bartizan_attestation::certificates::FleetCa;

use crate::config::Config;
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::nonces::NonceBook;
use crate::payer::Payer;
use crate::profile_cache::ProfileCache;
use crate::quota::VerdictQuota;
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
    /// How many more verdicts there may be.
    pub quota: VerdictQuota,
    /// The nonces that were issued.
    pub nonces: Mutex<NonceBook>,
    /// The vault.
    pub vault: Vault,
    /// The token keys.
    pub token_keys: TokenKeys,
    /// Parsed profiles.
    pub profiles: ProfileCache,
    /// The memory for requests of hosts and operators.
    pub memory: MemoryBudget,
    /// The memory for requests of everybody else.
    pub stranger_memory: MemoryBudget,
    /// Counters.
    pub metrics: Metrics,
}

impl Service {
    /// The memory that a payer's requests are charged to.
    #[must_use]
    pub const fn memory_of(&self, payer: &Payer) -> &MemoryBudget {
        if payer.is_stranger() {
            &self.stranger_memory
        } else {
            &self.memory
        }
    }

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
