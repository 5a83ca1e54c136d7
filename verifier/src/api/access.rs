//! Who may call: extractors that a handler names in its arguments, before its body.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::Role;
use bartizan_attestation::identity::CardId;

use crate::boots::{self, BootError};
use crate::clock::{now_ms, now_s};
use crate::firmware::ComparedFirmware;
use crate::peer::Peer;
use crate::problem::{Problem, ProblemType};
use crate::service::Service;
use crate::storage::{Fork, KeyId, RevocationKind, StorageError};

/// Proof that the client is a host whose certificate is valid now, that is not revoked, whose vault was not found to be a fork, and
/// that was booted from releases in force where that is demanded.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) card: CardId,
    /// What its firmware was compared with.
    pub(super) firmware: Option<ComparedFirmware>,
    /// The card's key that certified it.
    pub(super) card_key: KeyId,
}

/// Proof that the client is a host whose certificate is valid now and that is not revoked. How it was booted is not known:
/// it may say so, and nothing else.
#[derive(Clone, Debug)]
pub(super) struct Booting {
    pub(super) card: CardId,
    /// The card's key that certified it.
    pub(super) card_key: KeyId,
    /// Of the boot that its certificate was issued in.
    pub(super) phases: Vec<Sha384>,
    /// SHA-256 over that.
    pub(super) certificate: [u8; 32],
    /// Last second of its validity, since the Unix epoch.
    pub(super) not_after: u64,
}

/// Proof that the client is a host whose certificate is valid now and that is not revoked, nor its vault found to be a fork. The
/// card's key that certified it may have been superseded long ago; how it was booted is not known.
#[derive(Clone, Debug)]
pub(super) struct Succeeding {
    pub(super) host: Booting,
    /// Whether the key was superseded, and its overlap is over.
    pub(super) key_ended: bool,
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
    /// Its certificate is by a card identity key that another came after, and the overlap is over.
    #[error(
        "the identity key of card {0} that certified this was succeeded by another, and is not accepted any more; connect with a certificate by the newest"
    )]
    CardKeySuperseded(CardId),
    /// Its vault goes on twice from one state.
    #[error("{0}")]
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
        let booting = Booting::from_request_parts(parts, service).await?;
        Ok(booting.booted(service).await?)
    }
}

impl FromRequestParts<Arc<Service>> for Booting {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let Succeeding { host, key_ended } = Succeeding::from_request_parts(parts, service).await?;
        if key_ended {
            return Err(AccessError::CardKeySuperseded(host.card).into());
        }
        Ok(host)
    }
}

impl Booting {
    /// Proof that it was booted from releases in force, where that is demanded.
    pub(super) async fn booted(self, service: &Service) -> Result<Host, AccessError> {
        let Self { card, card_key, .. } = self;
        let firmware = boots::present(service, card, &self.phases, &self.certificate).await?;
        Ok(Host {
            card,
            firmware,
            card_key,
        })
    }
}

impl FromRequestParts<Arc<Service>> for Succeeding {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let host = match peer(parts) {
            Peer::Host {
                card,
                card_key,
                phases,
                certificate,
                not_after,
            } => Booting {
                card,
                card_key,
                phases,
                certificate,
                not_after: in_time(not_after, not_after)?,
            },
            Peer::Operator { .. } | Peer::Enclave { .. } => {
                return Err(AccessError::WrongRole("hosts").into());
            }
            Peer::Anonymous => return Err(AccessError::CertificateRequired(A_HOST).into()),
        };
        let card = host.card;
        let standing = (service.storage).host_standing(card, &host.card_key, now_ms());
        let standing = standing.await.map_err(AccessError::from)?;
        if standing.revoked {
            return Err(AccessError::HostRevoked(card).into());
        }
        let fork = service.storage.fork_of(card);
        if let Some(fork) = fork.await.map_err(AccessError::from)? {
            return Err(AccessError::VaultForked(Box::new(fork)).into());
        }
        Ok(Self {
            host,
            key_ended: standing.key_ended,
        })
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
            Peer::Host { .. } | Peer::Enclave { .. } => {
                return Err(AccessError::WrongRole("operators").into());
            }
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
            Self::CardKeySuperseded(_) => ("card-key-superseded", StatusCode::FORBIDDEN),
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
