//! What all requests share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::anchors::Anchors;
use crate::api::Challenges;
use crate::config::Config;
use crate::memory::{MemoryBudget, MemoryError, Share};
use crate::metrics::Metrics;
use crate::nonces::NonceBook;
use crate::payer::Payer;
use crate::profile_cache::ProfileCache;
use crate::quota::{BootQuota, CounterQuota, RenewalQuota, VerdictQuota};
use crate::quoted::Quoted;
use crate::storage::{Storage, VerdictLog};
use crate::streams::Streams;
use crate::tls_identity::TlsIdentity;
use crate::token_keys::TokenKeys;
use crate::vault::Vault;

/// The verifier's parts.
#[derive(Debug)]
pub struct Service {
    /// Its configuration.
    pub config: Config,
    /// The trust anchor.
    pub anchors: Arc<Anchors>,
    /// The database.
    pub storage: Storage,
    /// Where verdicts are recorded.
    pub verdicts: VerdictLog,
    /// How many more verdicts there may be.
    pub quota: VerdictQuota,
    /// How many more renewals of hosts' certificates.
    pub renewals: RenewalQuota,
    /// How many more logs of hosts' boots.
    pub boots: BootQuota,
    /// How many more reports of hosts' counters.
    pub counters: CounterQuota,
    /// One host is enrolled at a time.
    pub enrolling: tokio::sync::Mutex<()>,
    /// What hosts' TPMs have yet to prove.
    pub challenges: Challenges,
    /// What their TPMs have proved of their boots.
    pub quoted: Quoted,
    /// The nonces that were issued.
    pub nonces: Mutex<NonceBook>,
    /// The vault.
    pub vault: Vault,
    /// The TLS identity.
    pub tls: Arc<TlsIdentity>,
    /// The token keys.
    pub token_keys: TokenKeys,
    /// Parsed profiles.
    pub profiles: ProfileCache,
    /// The memory for requests of hosts and operators.
    pub memory: MemoryBudget,
    /// The memory for requests of everybody else.
    pub stranger_memory: MemoryBudget,
    /// The memory for streams of enclaves.
    pub stream_memory: MemoryBudget,
    /// The streams of enclaves that are open.
    pub streams: Streams,
    /// Counters.
    pub metrics: Metrics,
}

impl Service {
    /// A share of the memory that a payer's requests are charged to, as soon as there is one.
    ///
    /// # Errors
    /// There was none in time.
    pub async fn take_memory(&self, payer: &Payer, bytes: usize) -> Result<Share, MemoryError> {
        let budget = if payer.is_stranger() {
            &self.stranger_memory
        } else {
            &self.memory
        };
        let patience = Duration::from_secs(self.config.limits.memory_wait_s);
        budget.take(payer, bytes, Instant::now() + patience).await
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
