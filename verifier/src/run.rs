//! The service from its configuration to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::anchors::{Anchors, AnchorsError, keep_known};
use crate::api::Challenges;
use crate::clock::now_ms;
use crate::config::Config;
use crate::ending::{TaskFailed, Tasks};
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
use crate::vault::Vault;

/// How long the vault may take to come up beside the verifier.
const VAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const VAULT_TRY: Duration = Duration::from_millis(100);
/// The service did not start, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no fleet CA, or it is none.
    #[error(transparent)]
    Anchors(#[from] AnchorsError),
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
    /// It ran, and one of its tasks failed.
    #[error(transparent)]
    Task(#[from] TaskFailed),
}

impl RunError {
    /// Whether it is the vault that is away, or its device.
    #[must_use]
    pub const fn is_vault_away(&self) -> bool {
        match self {
            Self::Anchors(AnchorsError::Vault(error))
            | Self::TlsIdentity(
                TlsIdentityError::Vault(error)
                | TlsIdentityError::Anchors(AnchorsError::Vault(error)),
            )
            | Self::TokenKeys(TokenKeysError::Vault(error)) => error.is_away(),
            _ => false,
        }
    }
}

/// Runs the service until `end` is ready, or a task of it fails. `ready` is called with the addresses once it serves.
pub async fn run(
    config: Config,
    end: impl Future<Output = ()>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), RunError> {
    let vault = Vault::new(config.vault_socket.clone());
    let deadline = Instant::now() + VAULT_PATIENCE;
    let anchors = patiently(deadline, async || Ok(Anchors::open(vault.clone()).await?)).await?;
    let anchors = Arc::new(anchors);
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
    let open_tls = async || {
        let (vault, anchors) = (vault.clone(), Arc::clone(&anchors));
        Ok(TlsIdentity::open(vault, anchors, config.names.clone(), config.tls_lifetime_s).await?)
    };
    let tls = Arc::new(patiently(deadline, open_tls).await?);
    let open_token_keys = async || {
        let (vault, anchors) = (vault.clone(), Arc::clone(&anchors));
        Ok(TokenKeys::open(vault, anchors, config.token_key_lifetime_s).await?)
    };
    let token_keys = patiently(deadline, open_token_keys).await?;
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
    let mut listening = JoinSet::new();
    for listener in listeners {
        listening.spawn(server.clone().serve(listener));
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
    let mut tasks = Tasks {
        listeners: listening,
        verdict_writer: verdict_writer.into(),
        rotating: rotating.into(),
    };
    let ran = tasks.until(end).await;
    tracing::info!("ending");
    ending.send_replace(true);
    let ended = tasks.end(service, storage.close()).await;
    Ok(ran.and(ended)?)
}

/// Tries to open something until the deadline, as long as only the vault or its device is away: they come up beside the verifier.
async fn patiently<T>(
    deadline: Instant,
    mut open: impl AsyncFnMut() -> Result<T, RunError>,
) -> Result<T, RunError> {
    loop {
        match open().await {
            Err(error) if error.is_vault_away() && Instant::now() < deadline => {
                tokio::time::sleep(VAULT_TRY).await;
            }
            opened => return opened,
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
    use bartizan_attestation::keys::VaultRefusal;

    use super::*;
    use crate::vault::VaultError;

    fn device_away() -> RunError {
        let refused = VaultRefusal::DeviceAway("no TPM".into());
        RunError::TokenKeys(TokenKeysError::Vault(refused.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_is_waited_for_at_the_start_and_a_refusal_is_not() {
        let deadline = Instant::now() + VAULT_PATIENCE;
        let mut tries = 0;
        let opened = patiently(deadline, async || {
            tries += 1;
            if tries < 3 {
                Err(device_away())
            } else {
                Ok(tries)
            }
        });
        assert_eq!(opened.await.unwrap(), 3);
        let begun = Instant::now();
        let refused = patiently(deadline, async || -> Result<(), _> {
            Err(AnchorsError::None.into())
        });
        assert!(matches!(
            refused.await,
            Err(RunError::Anchors(AnchorsError::None))
        ));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let gone = patiently(deadline, async || Err::<(), _>(device_away()));
        assert!(gone.await.unwrap_err().is_vault_away());
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn whoever_needs_the_vault_first_says_that_it_is_away() {
        let away = || VaultError::Away {
            socket: "/run/vault".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        let anchors = || AnchorsError::Vault(away());
        for error in [
            RunError::Anchors(anchors()),
            RunError::TlsIdentity(TlsIdentityError::Vault(away())),
            RunError::TlsIdentity(TlsIdentityError::Anchors(anchors())),
            RunError::TokenKeys(TokenKeysError::Vault(away())),
        ] {
            assert!(error.is_vault_away(), "{error}");
        }
        assert!(!RunError::Anchors(AnchorsError::None).is_vault_away());
    }
}
