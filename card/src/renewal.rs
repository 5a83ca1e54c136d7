//! Renewal of the card identity's certificate, at half of its life and when the fleet CA was replaced: for the same key, so that the card stays who it is.
//! It is asked for over the host's own TLS connection, which takes a certificate that is still good, and is in the
//! vault's store before it is used.

use std::time::Duration;

use bartizan_attestation::certificates::{
    ChainError, FleetCa, Usage, VerifiedCertificate, verify_chain,
};
use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{Chain, VaultReply, VaultRequest};

use crate::service::Card;
use crate::unix_now;
use crate::vault::VaultError;

/// Longest sleep between two looks at the clock: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);
/// How long to wait after a failure: there is half a year.
const RETRY: Duration = Duration::from_secs(600);

/// The certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The verifier did not do it.
    #[error(transparent)]
    Refused(#[from] CardRefusal),
    /// The certificate that is in use is good no more.
    #[error("this host's certificate is refused: {0}; if it has expired, enrol the host anew")]
    InUse(#[source] ChainError),
    /// The new certificate is not what it should be.
    #[error("the new certificate for this host is refused: {0}")]
    New(#[source] ChainError),
    /// The new certificate is another card's.
    #[error("the new certificate is of card {found}, this is card {expected}")]
    OtherCard {
        /// This card.
        expected: CardId,
        /// The one in the certificate.
        found: CardId,
    },
}

/// Renews for ever, when it is due.
pub async fn keep_renewed(card: &Card) {
    loop {
        let wait = match renew_if_due(card).await {
            Ok(wait) => wait.min(LOOK),
            Err(error) => {
                tracing::error!(%error, "this host's certificate is not renewed; trying again");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // By the new CA, then.
            () = card.anchors.changed() => {}
        }
    }
}

/// Renews now, due or not.
pub async fn renew(card: &Card) -> Result<VerifiedCertificate, RenewalError> {
    // What is renewed is the present CA's, which may be another one by now.
    if let Err(error) = card.verifier.follow_fleet_ca().await {
        tracing::warn!(%error, "whether the fleet CA was replaced is not known");
    }
    let VaultReply::Csr(csr) = card
        .vault
        .ask_async(VaultRequest::RenewCardIdentity)
        .await?
    else {
        return Err(VaultError::Unexpected.into());
    };
    let chain = card.verifier.renew(&csr).await?;
    let trusted = card.anchors.ca().alone();
    let renewed = verify_new(&chain, &trusted, card.id)?;
    let chain: Chain = chain.into_iter().map(Into::into).collect();
    let install = VaultRequest::InstallCardIdentity {
        chain,
        fleet_ca: trusted.der().to_vec(),
    };
    card.replace_chain(card.vault.chain_async(install).await?);
    tracing::info!(
        not_after = renewed.not_after,
        "this host's certificate is renewed"
    );
    Ok(renewed)
}

/// Renews in the second half of the certificate's life, and where it is a former fleet CA's; answers how long it is until there is more to do.
async fn renew_if_due(card: &Card) -> Result<Duration, RenewalError> {
    let now = unix_now();
    let chain: Vec<_> = card.chain().into_iter().map(Vec::from).collect();
    let trusted = card.anchors.ca();
    let in_use = verify_chain(&chain, &trusted, now, Usage::Card);
    let in_use = in_use.map_err(RenewalError::InUse)?;
    let by_former = verify_chain(&chain, &trusted.alone(), now, Usage::Card).is_err();
    match until_half_life(&in_use, now) {
        _ if by_former => Ok(until_half_life(&renew(card).await?, now)),
        Duration::ZERO => Ok(until_half_life(&renew(card).await?, now)),
        wait => Ok(wait),
    }
}

/// The vault checks again that the chain is for its key.
fn verify_new(
    chain: &[Vec<u8>],
    fleet_ca: &FleetCa,
    expected: CardId,
) -> Result<VerifiedCertificate, RenewalError> {
    let new = verify_chain(chain, fleet_ca, unix_now(), Usage::Card).map_err(RenewalError::New)?;
    let found = CardId(new.public_key.sha256());
    if found == expected {
        Ok(new)
    } else {
        Err(RenewalError::OtherCard { expected, found })
    }
}

fn until_half_life(certificate: &VerifiedCertificate, now: u64) -> Duration {
    until_half((certificate.not_before, certificate.not_after), now)
}

fn until_half((not_before, not_after): (u64, u64), now: u64) -> Duration {
    let half = not_before.saturating_add(not_after.saturating_sub(not_before) / 2);
    Duration::from_secs(half.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::until_half;

    #[test]
    fn a_certificate_is_due_from_half_of_its_life_on() {
        for (now, left_s) in [(100, 50), (149, 1), (150, 0), (200, 0), (0, 150)] {
            assert_eq!(until_half((100, 200), now), Duration::from_secs(left_s));
        }
        assert_eq!(until_half((0, u64::MAX), u64::MAX), Duration::ZERO);
    }
}
