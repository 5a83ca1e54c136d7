//! Who may hold a stream open.

use axum::http::StatusCode;
use bartizan_attestation::identity::CardId;
use bartizan_stream::Code;

use crate::api::AccessError;
use crate::boots;
use crate::clock::{now_ms, now_s};
use crate::config::Limits;
use crate::memory::{MemoryError, Share};
use crate::payer::Payer;
use crate::peer::Peer;
use crate::problem::ProblemType;
use crate::service::Service;

/// Proof that the client is the enclave of a host that is not revoked, whose vault was not found to be a fork, and that was booted
/// from releases in force where that is demanded; and its share of the memory for streams.
#[derive(Debug)]
pub struct Admitted {
    pub(super) card: CardId,
    /// The stream does not outlast the certificate.
    pub(super) not_after: u64,
    pub(super) _share: Share,
}

/// A stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum StreamAccessError {
    /// The client may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl StreamAccessError {
    /// gRPC's word for it.
    #[must_use]
    pub fn code(&self) -> Code {
        let (_, status) = match self {
            Self::Access(error) => error.kind(),
            Self::Memory(error) => error.kind(),
        };
        match status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            status if status.is_client_error() => Code::PermissionDenied,
            _ => Code::Unavailable,
        }
    }
}

/// Whether a client may hold a stream open: the one place where that is decided. It is asked when the stream begins, and again
/// while it is open.
pub async fn admit(service: &Service, peer: &Peer) -> Result<Admitted, StreamAccessError> {
    let (card, not_after) = may_stream(service, peer).await?;
    let share = service
        .stream_memory
        .try_take(&Payer::Host(card), Limits::STREAM)?;
    Ok(Admitted {
        card,
        not_after,
        _share: share,
    })
}

/// The decision without what it costs.
pub(super) async fn may_stream(
    service: &Service,
    peer: &Peer,
) -> Result<(CardId, u64), AccessError> {
    let (card, card_key, phases, not_after) = match peer {
        Peer::Enclave {
            card,
            card_key,
            phases,
            not_after,
        } => (*card, card_key, phases, *not_after),
        Peer::Host { .. } | Peer::Operator { .. } => {
            return Err(AccessError::WrongRole("enclaves"));
        }
        Peer::Anonymous => return Err(AccessError::CertificateRequired("an enclave")),
    };
    if now_s() > not_after {
        return Err(AccessError::CertificateExpired);
    }
    let standing = service
        .storage
        .host_standing(card, card_key, now_ms())
        .await?;
    if standing.revoked {
        return Err(AccessError::HostRevoked(card));
    }
    if standing.key_ended {
        return Err(AccessError::CardKeySuperseded(card));
    }
    if let Some(fork) = service.storage.fork_of(card).await? {
        return Err(AccessError::VaultForked(Box::new(fork)));
    }
    boots::present_enclave(service, card, phases).await?;
    Ok((card, not_after))
}
