//! Join codes and hosts.

use std::sync::Arc;

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::certificates::{ChainError, Subject, Usage, verify_chain};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::VaultRequest;

use super::access::Operator;
use super::documents::{
    EnrolDocument, EnrolledDocument, HostsDocument, JoinCodeDocument, NewJoinCodeDocument,
};
use super::input::{self, InputError};
use crate::binary::Binary;
use crate::clock::{now_ms, now_s};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{EnrolledHost, JoinCodeError, StorageError};
use crate::vault::VaultError;

/// Longest life of a join code: one week.
const MAX_LIFETIME_S: u64 = 7 * 86_400;

/// A host was not enrolled, or a join code not made.
#[derive(Debug, thiserror::Error)]
enum EnrolmentError {
    /// The code was not accepted.
    #[error(transparent)]
    JoinCode(#[from] JoinCodeError),
    /// The vault did not certify the key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What the vault issued is no certificate of a host.
    #[error(
        "the vault issued a certificate that is no host's: {0}; see that vault and verifier are of one version"
    )]
    Issued(#[from] ChainError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The random number generator failed.
    #[error("the random number generator failed; see the system's log")]
    NoRandomness,
}

impl ProblemType for EnrolmentError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::JoinCode(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::Issued(_) => ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Storage(error) => error.kind(),
            Self::NoRandomness => ("no-randomness", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// Makes a join code: whoever has it may enrol one host under that name, once.
#[utoipa::path(
    post, path = "/v1/join-codes", tag = "operator",
    request_body = NewJoinCodeDocument,
    responses(
        (status = 201, body = JoinCodeDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add_join_code(
    State(service): State<Arc<Service>>,
    operator: Operator,
    input::Json(wish): input::Json<NewJoinCodeDocument>,
) -> Result<(StatusCode, Json<JoinCodeDocument>), Problem> {
    check_name(&wish.name)?;
    if !(1..=MAX_LIFETIME_S).contains(&wish.lifetime_s) {
        let expected = "1 to 604800 seconds";
        return Err(InputError::Field {
            field: "lifetime_s",
            expected,
        }
        .into());
    }
    let mut code = [0; 32];
    rand::fill(&mut code).map_err(|_| EnrolmentError::NoRandomness)?;
    let now = now_ms();
    let expires_at_ms = now + wish.lifetime_s * 1000;
    (service.storage)
        .add_join_code(
            &sha256(&code),
            &wish.name,
            &operator.name,
            now,
            expires_at_ms,
        )
        .await?;
    tracing::info!(operator = operator.name, host = wish.name, "join code made");
    let document = JoinCodeDocument {
        code: code.to_vec().into(),
        expires_at_ms,
    };
    Ok((StatusCode::CREATED, Json(document)))
}

/// Enrols a host: certifies its card's identity key in exchange for a join code.
#[utoipa::path(
    post, path = "/v1/hosts", tag = "open",
    request_body = EnrolDocument,
    responses(
        (status = 201, body = EnrolledDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn enroll(
    State(service): State<Arc<Service>>,
    input::Json(host): input::Json<EnrolDocument>,
) -> Result<(StatusCode, Json<EnrolledDocument>), Problem> {
    check_name(&host.name)?;
    let code = sha256(&host.join_code.0);
    let operator = service
        .storage
        .use_join_code(&code, &host.name, now_ms())
        .await?;
    let chain = match issue(&service, &host).await {
        Ok(chain) => chain,
        Err(error) => {
            // Refused or not even asked: nothing was issued, the code may be tried again.
            if matches!(error, VaultError::Refused(_) | VaultError::Away { .. }) {
                service.storage.release_join_code(&code).await?;
            }
            return Err(error.into());
        }
    };
    let verified = verify_chain(&chain, &service.fleet_ca, now_s(), Usage::Card)
        .map_err(EnrolmentError::from)?;
    if let (Subject::Host(card), Some(certificate)) = (&verified.subject, chain.first()) {
        let enrolled = EnrolledHost {
            card: *card,
            name: host.name,
            operator,
            enrolled_at_ms: now_ms(),
            certificate: certificate.clone(),
        };
        service.storage.add_host(&enrolled).await?;
        tracing::info!(%card, host = enrolled.name, operator = enrolled.operator, "host enrolled");
    }
    let document = EnrolledDocument {
        chain: chain.into_iter().map(Binary).collect(),
        fleet_ca: service.fleet_ca.der().to_vec().into(),
    };
    Ok((StatusCode::CREATED, Json(document)))
}

/// The enrolled hosts.
#[utoipa::path(
    get, path = "/v1/hosts", tag = "operator",
    responses(
        (status = 200, body = HostsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn hosts(
    State(service): State<Arc<Service>>,
    _operator: Operator,
) -> Result<Json<HostsDocument>, Problem> {
    let hosts = service
        .storage
        .hosts()
        .await?
        .into_iter()
        .map(Into::into)
        .collect();
    Ok(Json(HostsDocument { hosts }))
}

async fn issue(service: &Service, host: &EnrolDocument) -> Result<Vec<Vec<u8>>, VaultError> {
    let request = VaultRequest::IssueHost {
        csr: host.csr.0.clone(),
        name: host.name.clone(),
    };
    service.vault.certificates(request).await
}

fn check_name(name: &str) -> Result<(), InputError> {
    let fits = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
    let expected = "1 to 63 of a-z, 0-9, `.` and `-`";
    if fits {
        Ok(())
    } else {
        Err(InputError::Field {
            field: "name",
            expected,
        })
    }
}
