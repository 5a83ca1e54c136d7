//! The service from its configuration to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::anchors::{AnchorsError, keep_known};
use crate::api::Challenges;
use crate::config::Config;
use crate::ending::{TaskFailed, Tasks};
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::nonces::NonceBook;
use crate::opening::Opened;
use crate::profile_cache::ProfileCache;
use crate::quota::{BootQuota, CounterQuota, RenewalQuota, VerdictQuota};
use crate::quoted::Quoted;
use crate::rotation::keep_fresh;
use crate::server::Server;
use crate::service::Service;
use crate::storage::{StorageError, VerdictLog};
use crate::streams::Streams;
use crate::tls_identity::TlsIdentityError;
use crate::token_keys::TokenKeysError;
use crate::vault::Vault;

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
    /// Whether it is the vault that is not there, or its device.
    #[must_use]
    pub const fn is_vault_absent(&self) -> bool {
        match self {
            Self::Anchors(AnchorsError::Vault(error))
            | Self::TlsIdentity(
                TlsIdentityError::Vault(error)
                | TlsIdentityError::Anchors(AnchorsError::Vault(error)),
            )
            | Self::TokenKeys(TokenKeysError::Vault(error)) => error.is_absent(),
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
    tokio::pin!(end);
    let vault = Vault::new(config.vault_socket.clone());
    let opened = tokio::select! {
        biased;
        () = &mut end => {
            tracing::info!("told to end before it served");
            return Ok(());
        }
        opened = Opened::of(&config, &vault) => opened?,
    };
    let Opened {
        anchors,
        storage,
        tls,
        token_keys,
    } = opened;
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
        stream_memory: MemoryBudget::new(config.limits.stream_memory_bytes),
        streams: Streams::new(storage.policy_set().await?),
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
    use super::*;
    use crate::vault::VaultError;

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
            assert!(error.is_vault_absent(), "{error}");
        }
        assert!(!RunError::Anchors(AnchorsError::None).is_vault_absent());
    }
}
