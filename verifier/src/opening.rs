//! What the verifier serves with, once its vault is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::anchors::Anchors;
use crate::clock::now_ms;
use crate::config::Config;
use crate::run::RunError;
use crate::storage::Storage;
use crate::tls_identity::TlsIdentity;
use crate::token_keys::TokenKeys;
use crate::vault::Vault;

/// How long the vault may take to come up beside the verifier.
const VAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const VAULT_TRY: Duration = Duration::from_millis(100);

/// What it serves with.
pub(crate) struct Opened {
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) storage: Storage,
    pub(crate) tls: Arc<TlsIdentity>,
    pub(crate) token_keys: TokenKeys,
}

impl Opened {
    pub(crate) async fn of(config: &Config, vault: &Vault) -> Result<Self, RunError> {
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
            Ok(
                TlsIdentity::open(vault, anchors, config.names.clone(), config.tls_lifetime_s)
                    .await?,
            )
        };
        let tls = Arc::new(patiently(deadline, open_tls).await?);
        let open_token_keys = async || {
            let (vault, anchors) = (vault.clone(), Arc::clone(&anchors));
            Ok(TokenKeys::open(vault, anchors, config.token_key_lifetime_s).await?)
        };
        let token_keys = patiently(deadline, open_token_keys).await?;
        Ok(Self {
            anchors,
            storage,
            tls,
            token_keys,
        })
    }
}

/// Tries to open something until the deadline, as long as only the vault or its device is not there: they come up beside the verifier.
async fn patiently<T>(
    deadline: Instant,
    mut open: impl AsyncFnMut() -> Result<T, RunError>,
) -> Result<T, RunError> {
    let mut told = false;
    loop {
        match open().await {
            Err(error) if error.is_vault_absent() && Instant::now() < deadline => {
                if !told {
                    tracing::warn!(%error, "waiting for the vault");
                    told = true;
                }
                tokio::time::sleep(VAULT_TRY).await;
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::keys::VaultRefusal;

    use super::*;
    use crate::anchors::AnchorsError;
    use crate::token_keys::TokenKeysError;

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
        assert!(gone.await.unwrap_err().is_vault_absent());
        assert!(Instant::now() >= deadline);
    }
}
