//! The card identity's certificates after its first: at half of the present one's life, when the fleet CA was replaced, and when an
//! operator says so, for another key that the present one names, or for the same. The card stays who it is
//! ([`bartizan_attestation::succession`]).
//!
//! It is asked for over the host's own TLS connection, which takes a certificate that is still good. What was begun is finished:
//! the vault names the same next key until its certificate is installed, and the verifier answers the same again.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::certificates::{
    ChainError, FleetCa, Usage, VerifiedCertificate, verify_chain,
};
use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{
    BegunSuccession, Chain, KeyDescription, NextKey, Purpose, VaultReply, VaultRequest,
};

use crate::service::Card;
use crate::unix_now;
use crate::vault::VaultError;

/// Longest sleep between two looks at the clock: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);
/// How long to wait after a failure: there is half a year, or, of a key that was begun, the overlap of the former.
const RETRY: Duration = Duration::from_secs(600);

/// There is no other certificate.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// The vault did not do it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The verifier did not do it.
    #[error(transparent)]
    Refused(#[from] CardRefusal),
    /// The vault has made a key, and names it until its certificate is there: the card finishes it by itself.
    #[error("it is begun, and a card that runs goes on trying: {0}")]
    Begun(#[source] Box<SuccessionError>),
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

/// Keeps this host certified, for ever.
pub async fn keep_certified(card: &Card) {
    loop {
        let wait = match succeed_if_due(card).await {
            Ok(wait) => wait.min(LOOK),
            Err(error) => {
                tracing::error!(%error, "this host has no other certificate yet; trying again");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = card.unfinished.notified() => {}
            // By the new CA, then.
            () = card.anchors.changed() => {}
        }
    }
}

/// Gets a certificate now, due or not. Where a key is begun already, for that one.
pub(crate) async fn succeed(
    card: &Card,
    next: NextKey,
) -> Result<VerifiedCertificate, SuccessionError> {
    let done = succeed_once(card, next).await;
    if done.is_err() {
        // A key may wait for its certificate now.
        card.unfinished.notify_one();
    }
    done
}

async fn succeed_once(card: &Card, next: NextKey) -> Result<VerifiedCertificate, SuccessionError> {
    // One after the other: of two at once the second would ask with a key that is gone.
    let _turn = card.succeeding.lock().await;
    // The certificate is the present CA's, which may be another one by now.
    if let Err(error) = card.verifier.follow_fleet_ca().await {
        tracing::warn!(%error, "whether the fleet CA was replaced is not known");
    }
    let begin = VaultRequest::BeginSuccession { next };
    let VaultReply::Succession(begun) = card.vault.ask_async(begin).await? else {
        return Err(VaultError::Unexpected.into());
    };
    let finished = finish(card, &begun).await;
    finished.map_err(|error| match next {
        NextKey::New => SuccessionError::Begun(error.into()),
        // No other key was asked for: where one waits, it was begun before.
        NextKey::Same => error,
    })
}

/// Has the verifier certify what the vault has begun, and the vault install it.
async fn finish(
    card: &Card,
    begun: &BegunSuccession,
) -> Result<VerifiedCertificate, SuccessionError> {
    let chain = card.verifier.succeed(begun).await?;
    let trusted = card.anchors.ca().alone();
    let new = verify_new(&chain, &trusted, card.id)?;
    let chain: Chain = chain.into_iter().map(Into::into).collect();
    let install = VaultRequest::InstallCardIdentity {
        chain,
        fleet_ca: trusted.der().to_vec(),
    };
    card.replace_chain(card.vault.chain_async(install).await?);
    tracing::info!(
        key = new.card_key.map(hex),
        not_after = new.not_after,
        "this host has another certificate"
    );
    // By the identity that is in use now. The former one's is good for a while, and made anew in half an hour by itself.
    let verifier = Arc::clone(&card.verifier);
    match tokio::task::spawn_blocking(move || verifier.rotate()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the TLS client key was not rotated yet"),
        Err(error) => tracing::warn!(%error, "the TLS client key was not rotated yet"),
    }
    Ok(new)
}

/// Finishes what was begun, or begins in the second half of the certificate's life, and where it is a former fleet CA's; answers how
/// long it is until there is more to do.
async fn succeed_if_due(card: &Card) -> Result<Duration, SuccessionError> {
    let VaultReply::Description { keys, .. } = card.vault.ask_async(VaultRequest::Describe).await?
    else {
        return Err(VaultError::Unexpected.into());
    };
    let identity = |key: &&KeyDescription| key.purpose == Purpose::CardIdentity;
    let identities = || keys.iter().filter(identity);
    let in_use = identities().rfind(|key| !key.chain.is_empty());
    let in_use = in_use.ok_or(VaultError::Unexpected)?.chain.clone();
    // The vault may have installed it, and its answer been lost.
    card.replace_chain(in_use.clone());
    let waits = identities().any(|key| key.chain.is_empty());
    let now = unix_now();
    let chain: Vec<_> = in_use.iter().map(|der| der.to_vec()).collect();
    let trusted = card.anchors.ca();
    let in_use = verify_chain(&chain, &trusted, now, Usage::Card);
    let in_use = in_use.map_err(SuccessionError::InUse)?;
    let by_former = verify_chain(&chain, &trusted.alone(), now, Usage::Card).is_err();
    let wait = until_half_life(&in_use, now);
    let due = wait.is_zero();
    if !waits && !due && !by_former {
        return Ok(wait);
    }
    let next = if due && card.rotates_identity {
        NextKey::New
    } else {
        // Where a key waits it is that one all the same.
        NextKey::Same
    };
    Ok(until_half_life(&succeed_once(card, next).await?, now))
}

/// The vault checks again that the chain is for its key.
fn verify_new(
    chain: &[Vec<u8>],
    fleet_ca: &FleetCa,
    expected: CardId,
) -> Result<VerifiedCertificate, SuccessionError> {
    let new =
        verify_chain(chain, fleet_ca, unix_now(), Usage::Card).map_err(SuccessionError::New)?;
    match new.card {
        Some(found) if found != expected => Err(SuccessionError::OtherCard { expected, found }),
        _ => Ok(new),
    }
}

fn until_half_life(certificate: &VerifiedCertificate, now: u64) -> Duration {
    until_half((certificate.not_before, certificate.not_after), now)
}

fn until_half((not_before, not_after): (u64, u64), now: u64) -> Duration {
    let half = not_before.saturating_add(not_after.saturating_sub(not_before) / 2);
    Duration::from_secs(half.saturating_sub(now))
}

fn hex(id: [u8; 32]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
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
