//! Who may call: extractors that a handler names in its arguments, before its body.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::Role;
use bartizan_attestation::identity::CardId;

use crate::boots::{self, BootError};
use crate::clock::now_s;
use crate::firmware::ComparedFirmware;
use crate::peer::Peer;
use crate::problem::{Problem, ProblemType};
use crate::service::Service;
use crate::storage::{Fork, RevocationKind, StorageError};

/// Proof that the client is a host whose certificate is valid now, that is not revoked, whose vault was not found to be a fork, and
/// that was booted from releases in force where that is demanded.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) card: CardId,
    /// What its firmware was compared with.
    pub(super) firmware: Option<ComparedFirmware>,
}

/// Proof that the client is a host whose certificate is valid now and that is not revoked. How it was booted is not known:
/// it may say so, and nothing else.
#[derive(Clone, Debug)]
pub(super) struct Booting {
    pub(super) card: CardId,
    /// Of the boot that its certificate was issued in.
    pub(super) phases: Vec<Sha384>,
    /// SHA-256 over that.
    pub(super) certificate: [u8; 32],
    /// Last second of its validity, since the Unix epoch.
    pub(super) not_after: u64,
}

/// Proof that the client is an operator whose certificate is valid now, who is not revoked, and who is an administrator where the
/// request is not one to read.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) name: String,
}

/// A client may not call this.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It showed no certificate of a host or an operator.
    #[error("this needs a client certificate of {0}; connect with one")]
    CertificateRequired(&'static str),
    /// It is not of the kind that may.
    #[error("this is for {0} only")]
    WrongRole(&'static str),
    /// Its certificate has expired since it connected.
    #[error(
        "the client certificate has expired since the connection was made; renew it and connect again"
    )]
    CertificateExpired,
    /// Its role does not allow it.
    #[error("operator `{name}` is {role}; only an administrator changes anything here")]
    Role {
        /// The operator.
        name: String,
        /// Its role.
        role: Role,
    },
    /// It is a revoked host.
    #[error("host {0} is revoked; an operator can see why in GET /v1/revocations")]
    HostRevoked(CardId),
    /// Its vault goes on twice from one state.
    #[error(
        "the vault of card {card} was copied or set back: {former} had reported in with it when {latter} did with what was used up; both are refused until an operator enrols one anew, or clears it with `bartizan host clear-fork`",
        card = .0.card, former = .0.former, latter = .0.latter
    )]
    VaultForked(Box<Fork>),
    /// It is a revoked operator.
    #[error("operator `{0}` is revoked")]
    OperatorRevoked(String),
    /// It is a host whose boot was not accepted.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

const A_HOST: &str = "a host";
const AN_OPERATOR: &str = "an operator";

impl FromRequestParts<Arc<Service>> for Host {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let Booting {
            card,
            phases,
            certificate,
            ..
        } = Booting::from_request_parts(parts, service).await?;
        let firmware = boots::present(service, card, &phases, &certificate)
            .await
            .map_err(AccessError::from)?;
        Ok(Self { card, firmware })
    }
}

impl FromRequestParts<Arc<Service>> for Booting {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let host = match peer(parts) {
            Peer::Host {
                card,
                phases,
                certificate,
                not_after,
            } => Self {
                card,
                phases,
                certificate,
                not_after: in_time(not_after, not_after)?,
            },
            Peer::Operator { .. } => return Err(AccessError::WrongRole("hosts").into()),
            Peer::Anonymous => return Err(AccessError::CertificateRequired(A_HOST).into()),
        };
        let card = host.card;
        let subject = card.to_string();
        let revoked = service.storage.is_revoked(RevocationKind::Host, &subject);
        if revoked.await.map_err(AccessError::from)? {
            return Err(AccessError::HostRevoked(card).into());
        }
        let fork = service.storage.fork_of(card);
        if let Some(fork) = fork.await.map_err(AccessError::from)? {
            return Err(AccessError::VaultForked(Box::new(fork)).into());
        }
        Ok(host)
    }
}

impl FromRequestParts<Arc<Service>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let (name, role) = match peer(parts) {
            Peer::Operator {
                name,
                role,
                not_after,
            } => in_time((name, role), not_after)?,
            Peer::Host { .. } => return Err(AccessError::WrongRole("operators").into()),
            Peer::Anonymous => return Err(AccessError::CertificateRequired(AN_OPERATOR).into()),
        };
        let revoked = service.storage.is_revoked(RevocationKind::Operator, &name);
        if revoked.await.map_err(AccessError::from)? {
            return Err(AccessError::OperatorRevoked(name).into());
        }
        if !parts.method.is_safe() && !role.includes(Role::Administrator) {
            return Err(AccessError::Role { name, role }.into());
        }
        Ok(Self { name })
    }
}

/// Who is at the other end: the connection's, or nobody known.
pub(super) fn peer(parts: &Parts) -> Peer {
    parts
        .extensions
        .get::<Peer>()
        .cloned()
        .unwrap_or(Peer::Anonymous)
}

fn in_time<T>(subject: T, not_after: u64) -> Result<T, AccessError> {
    if now_s() <= not_after {
        Ok(subject)
    } else {
        Err(AccessError::CertificateExpired)
    }
}

impl ProblemType for AccessError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::CertificateRequired(_) => {
                ("client-certificate-required", StatusCode::UNAUTHORIZED)
            }
            Self::WrongRole(_) => ("wrong-role", StatusCode::FORBIDDEN),
            Self::Role { .. } => ("role-insufficient", StatusCode::FORBIDDEN),
            Self::CertificateExpired => ("client-certificate-expired", StatusCode::UNAUTHORIZED),
            Self::HostRevoked(_) => ("host-revoked", StatusCode::FORBIDDEN),
            Self::VaultForked(_) => ("vault-forked", StatusCode::FORBIDDEN),
            Self::OperatorRevoked(_) => ("operator-revoked", StatusCode::FORBIDDEN),
            Self::Boot(error) => error.kind(),
            Self::Storage(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Boot(error) => error.retry_after_s(),
            Self::Storage(error) => error.retry_after_s(),
            _ => None,
        }
    }
}
