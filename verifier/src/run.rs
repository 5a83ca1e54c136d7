//! The service from its configuration to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::anchors::{Anchors, AnchorsError, keep_known};
use crate::api::Challenges;
use crate::clock::now_ms;
use crate::config::Config;
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::nonces::NonceBook;
use crate::profile_cache::ProfileCache;
use crate::quota::{BootQuota, CounterQuota, RenewalQuota, VerdictQuota};
use crate::quoted::Quoted;
use crate::rotation::keep_fresh;
use crate::server::Server;
use crate::service::Service;
use crate::storage::{Storage, StorageError, VerdictLog};
use crate::tls_identity::{TlsIdentity, TlsIdentityError};
use crate::token_keys::{TokenKeys, TokenKeysError};
use crate::vault::{Vault, VaultError};

/// How long the vault may take to come up beside the verifier.
const VAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const VAULT_TRY: Duration = Duration::from_millis(100);
/// How long what was begun may take to be ended once no connection is left. With the time that connections may take before, and blocked
/// threads after, it is less than the 90 s after which systemd kills.
const LAST_WORK: Duration = Duration::from_secs(60);

/// The service did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The vault did not do what was asked.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// There is no fleet CA, or it is none.
    #[error(transparent)]
    Anchors(AnchorsError),
    /// The database could not be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no TLS identity.
    #[error(transparent)]
    TlsIdentity(#[from] TlsIdentityError),
    /// There is no token key.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
    /// An address could not be bound.
    #[error("{address} cannot be listened at: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Runs the service until `end` is ready. `ready` is called with the addresses once it serves.
pub async fn run(
    config: Config,
    end: impl Future<Output = ()>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), RunError> {
    let vault = Vault::new(config.vault_socket.clone());
    let anchors = Arc::new(await_vault(&vault).await?);
    let storage = Storage::open(&config.database).await?;
    // A key that was taken out of the configuration has signed nothing any more. Where nothing is demanded, none is named.
    if config.measured_boot.is_demanded() {
        let signers = config.measured_boot.signers();
        let by = "the verifier's configuration";
        let retired = storage.retire_releases_of_others(&signers, by, now_ms());
        match retired.await? {
            0 => {}
            releases => tracing::warn!(
                releases,
                "retired what keys signed that the configuration does not name"
            ),
        }
    }
    let tls = TlsIdentity::open(
        vault.clone(),
        Arc::clone(&anchors),
        config.names.clone(),
        config.tls_lifetime_s,
    );
    let tls = Arc::new(tls.await?);
    let lifetime_s = config.token_key_lifetime_s;
    let token_keys = TokenKeys::open(vault.clone(), Arc::clone(&anchors), lifetime_s).await?;
    let (verdicts, verdict_writer) = VerdictLog::start(storage.clone(), config.retention);
    let listeners = listen(&config.listen).await?;
    let addresses: Vec<_> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    let service = Arc::new(Service {
        nonces: Mutex::new(NonceBook::new(config.nonce_limits())),
        memory: MemoryBudget::new(config.limits.request_memory_bytes),
        stranger_memory: MemoryBudget::new(config.limits.stranger_memory_bytes),
        quota: VerdictQuota::new(&config.verdicts),
        renewals: RenewalQuota::default(),
        boots: BootQuota::default(),
        counters: CounterQuota::default(),
        enrolling: tokio::sync::Mutex::default(),
        challenges: Challenges::default(),
        quoted: Quoted::default(),
        profiles: ProfileCache::default(),
        metrics: Metrics::default(),
        storage: storage.clone(),
        config,
        anchors,
        verdicts,
        vault,
        tls: Arc::clone(&tls),
        token_keys,
    });

    let (ending, watch_end) = watch::channel(false);
    let server = Server::new(Arc::clone(&service), watch_end);
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn(server.clone().serve(listener));
    }
    drop(server);
    let rotating = {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            tokio::join!(
                keep_known(&service.anchors),
                keep_fresh(tls.as_ref()),
                keep_fresh(&service.token_keys)
            );
        })
    };
    ready(&addresses);
    end.await;

    tracing::info!("ending");
    ending.send_replace(true);
    serving.join_all().await;
    rotating.abort();
    let _aborted = rotating.await;
    // What changes something is ended though its client is gone: each such task holds the service, and the service the verdict log, whose
    // writer finishes what was handed to it and ends with the last of them.
    drop(service);
    let last_work = async {
        let _finished = verdict_writer.await;
        storage.close().await;
    };
    end_in_time(last_work).await;
    Ok(())
}

/// Waits for what was begun, and gives it up in the end: a vault that does not answer has it take as long as there are tasks that ask.
async fn end_in_time(last_work: impl Future<Output = ()>) {
    let seconds = LAST_WORK.as_secs();
    tracing::info!(seconds, "waiting for what was begun");
    if timeout(LAST_WORK, last_work).await.is_err() {
        tracing::warn!(
            seconds,
            "what was begun has not ended and is given up; what operators had done lately may be done or not, and may not be logged: look"
        );
    }
}

async fn await_vault(vault: &Vault) -> Result<Anchors, RunError> {
    let deadline = Instant::now() + VAULT_PATIENCE;
    loop {
        match Anchors::open(vault.clone()).await {
            Err(AnchorsError::Vault(VaultError::Away { .. })) if Instant::now() < deadline => {
                tokio::time::sleep(VAULT_TRY).await;
            }
            // As every other failure of the vault's.
            Err(AnchorsError::Vault(error)) => return Err(error.into()),
            answer => return answer.map_err(RunError::Anchors),
        }
    }
}

async fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, RunError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| RunError::Listen {
                address: *address,
                source,
            })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::{LAST_WORK, end_in_time};
    use tokio::time::Instant;

    /// In the test's time, which goes on when nothing else does.
    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_given_up() {
        let begun = Instant::now();
        end_in_time(ready(())).await;
        assert_eq!(begun.elapsed().as_secs(), 0);
        end_in_time(pending()).await;
        assert_eq!(begun.elapsed().as_secs(), LAST_WORK.as_secs());
    }
}
