//! The link to the card: who it is, and what this enclave asks it.

mod state;

use std::time::Duration;

use bartizan_attestation::certificates::{ChainError, Lineage, Usage, verify_chain};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr::KeyError;
use bartizan_attestation::host::{CardRefusal, ENCLAVE_FRAME, ForCard, FromCard};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{Chain, EnclaveChains};
use bartizan_local::{FrameError, aio};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{error::Elapsed, timeout};

use crate::run::{Enclave, now_s};
pub use state::{Progress, StateError, keep_state};

/// How long the card may take: its vault may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The card did not certify this enclave.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// It refused.
    #[error("the card refused: {0}")]
    Refused(CardRefusal),
    /// The link failed.
    #[error(transparent)]
    Link(#[from] FrameError),
    /// It did not answer in time.
    #[error("the card did not answer in time")]
    TimedOut(#[from] Elapsed),
    /// No request could be made.
    #[error(transparent)]
    Request(#[from] KeyError),
    /// What it certified is refused.
    #[error("the card's certificate is refused: {0}")]
    Chain(#[from] ChainError),
    /// It certified another key, or for another card.
    #[error("the card certified what it was not asked for")]
    Another,
}

/// The fleet's CAs, as the card tells them: nothing of it is believed before [`crate::anchors::Anchors::learn`].
pub async fn fleet_cas(
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Lineage, CertifyError> {
    match ask::<CertifyError>(link, &ForCard::FleetCas).await? {
        FromCard::FleetCas(told) => Ok(told),
        FromCard::Refused(refusal) => Err(CertifyError::Refused(refusal)),
        FromCard::Certified(_) | FromCard::State(_) | FromCard::Stored => {
            Err(CertifyError::Another)
        }
    }
}

/// Asks, and waits for the answer.
async fn ask<E: From<FrameError> + From<Elapsed>>(
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
    asked: &ForCard,
) -> Result<FromCard, E> {
    let exchange = async {
        aio::write_frame(link, asked, ENCLAVE_FRAME).await?;
        aio::read_frame(link, ENCLAVE_FRAME).await
    };
    Ok(timeout(PATIENCE, exchange).await??)
}

/// Has the card certify this enclave's keys, and shows the certificates from then on. Answers when half of their life is over, in
/// seconds from now.
pub async fn certify(
    enclave: &Enclave,
    card: CardId,
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<u64, CertifyError> {
    let keys = &enclave.keys;
    let asked = ForCard::Certify {
        tls: keys.tls().csr()?,
        evidence: keys.evidence.csr()?,
    };
    let EnclaveChains { tls, evidence } = match ask::<CertifyError>(link, &asked).await? {
        FromCard::Certified(chains) => chains,
        FromCard::Refused(refusal) => return Err(CertifyError::Refused(refusal)),
        FromCard::State(_) | FromCard::Stored | FromCard::FleetCas(_) => {
            return Err(CertifyError::Another);
        }
    };
    let (now, ca) = (now_s(), enclave.anchors.ca());
    let checked = |chain: &Chain, usage, key: PublicKey| {
        let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
        let certificate = verify_chain(&chain, &ca, now, usage)?;
        let expected = certificate.card == Some(card) && certificate.public_key == key;
        match expected {
            true => Ok((chain, certificate.not_after)),
            false => Err(CertifyError::Another),
        }
    };
    let (shown, ends) = checked(&tls, Usage::EnclaveTls, keys.tls().public_key())?;
    let (_, evidence_ends) = checked(&evidence, Usage::Evidence, keys.evidence.public_key())?;
    keys.show(shown, evidence, evidence_ends);
    Ok(ends.min(evidence_ends).saturating_sub(now) / 2)
}

#[cfg(test)]
pub(crate) mod tests;
