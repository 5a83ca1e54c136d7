//! Join codes and hosts.

use std::sync::Arc;

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::csr::{self, CsrError};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{VaultKind, VaultRequest};

use super::access::Operator;
use super::documents::{
    EnrolDocument, EnrolledDocument, HostDocument, HostsDocument, JoinCodeDocument,
    NewJoinCodeDocument,
};
use super::input::{self, InputError, Parameters};
use super::issuing::{IssueError, document, issue};
use super::listing::{PageQuery, PageShare, Paid};
use super::tpm::{self, TpmError};
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{EnrolledHost, JoinCode, JoinCodeError, StorageError};
use crate::task::to_its_end;
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
    Issue(#[from] IssueError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The random number generator failed.
    #[error("the random number generator failed; see the system's log")]
    NoRandomness,
    /// The request proves no key.
    #[error("the request for a certificate is refused: {0}")]
    Request(#[from] CsrError),
    /// The TPM proved nothing.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The key is known to be in a TPM.
    #[error(
        "this key is known to be in a TPM, which has not proved now that it has it; put the host's vault aside and enrol it with a key of its own"
    )]
    KeyOfTpm,
    /// The name is another TPM's.
    #[error(
        "host `{name}` is known with another TPM; if its TPM or board was replaced, revoke the host that was, or have a join code made by `bartizan host join-code --another-tpm`"
    )]
    OtherTpm {
        /// The host's name.
        name: String,
    },
    /// The key is, or was, the identity of a card that goes by another.
    #[error(
        "that card identity key was succeeded by another, or is the key of a card that began with another; enrol with an empty store"
    )]
    KeyTaken,
}

impl ProblemType for EnrolmentError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::JoinCode(error) => error.kind(),
            Self::Issue(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::NoRandomness => ("no-randomness", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Request(_) => ("not-signable", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Tpm(error) => error.kind(),
            Self::KeyOfTpm => ("card-key-of-tpm", StatusCode::FORBIDDEN),
            Self::OtherTpm { .. } => ("host-of-other-tpm", StatusCode::FORBIDDEN),
            Self::KeyTaken => ("card-key-taken", StatusCode::CONFLICT),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::JoinCode(error) => error.retry_after_s(),
            Self::Issue(error) => error.retry_after_s(),
            Self::Storage(error) => error.retry_after_s(),
            Self::Tpm(error) => error.retry_after_s(),
            _ => None,
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
    input::Json(wish, share): input::Json<NewJoinCodeDocument>,
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
    let good_for = JoinCode {
        operator: operator.name,
        vault: wish
            .vault
            .as_deref()
            .map_or(Ok(VaultKind::Software), kind)?,
        another_tpm: wish.another_tpm,
    };
    to_its_end(share, async move {
        let (storage, host, hash) = (&service.storage, wish.name, sha256(&code));
        let added = storage.add_join_code(&hash, &host, &good_for, now, expires_at_ms);
        added.await?;
        let (operator, vault) = (good_for.operator, good_for.vault.name());
        tracing::info!(operator, host, vault, "join code made");
        let document = JoinCodeDocument {
            code: code.to_vec().into(),
            expires_at_ms,
        };
        Ok::<_, StorageError>((StatusCode::CREATED, Json(document)))
    })
    .await
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
    input::Json(host, share): input::Json<EnrolDocument>,
) -> Result<(StatusCode, Json<EnrolledDocument>), Problem> {
    check_name(&host.name)?;
    let vault = kind(&host.vault)?;
    let enrolled = to_its_end(share, async move { enrol(&service, host, vault).await });
    Ok((StatusCode::CREATED, Json(enrolled.await?)))
}

/// The enrolled hosts.
#[utoipa::path(
    get, path = "/v1/hosts", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = HostsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn hosts(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let after = query.cursor()?;
    let page = service.storage.hosts(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|host| host.cursor().to_string());
    let mut forks = service.storage.forks().await?;
    let shown = |host: EnrolledHost| {
        let forked = forks.iter().position(|fork| fork.card == host.card);
        let fork = forked.map(|at| forks.swap_remove(at).into());
        HostDocument {
            fork,
            ..host.into()
        }
    };
    let hosts = page.rows.into_iter().map(shown).collect();
    Ok(share.answer(&HostsDocument { hosts, next }))
}

async fn enrol(
    service: &Service,
    host: EnrolDocument,
    vault: VaultKind,
) -> Result<EnrolledDocument, EnrolmentError> {
    let code = sha256(&host.join_code.0);
    let storage = &service.storage;
    // One at a time: of two hosts that have a code for one name each, the second is compared with the first. Who has no code
    // waits for nobody.
    storage.join_code(&code, &host.name, now_ms()).await?;
    let _turn = service.enrolling.lock().await;
    let good_for = storage.join_code(&code, &host.name, now_ms()).await?;
    tpm::check_kind(good_for.vault, vault)?;
    let key = csr::verify(&host.csr.0)?;
    let key_id = key.sha256();
    if storage.is_key_taken(&key_id, CardId(key_id)).await? {
        return Err(EnrolmentError::KeyTaken);
    }
    let tpm = match vault {
        VaultKind::Tpm2 => {
            let secrets = host.secrets.map_or_else(Vec::new, |secrets| secrets.0);
            Some(service.challenges.answered(&code, &key, &secrets)?)
        }
        VaultKind::Software | VaultKind::Pkcs11 => None,
    };
    let endorsement = tpm.as_ref().map(|tpm| &tpm.endorsement);
    // A key that is in a TPM stays there, whoever says otherwise of it.
    let known = storage
        .host(CardId(key_id))
        .await?
        .and_then(|host| host.tpm);
    if known.is_some_and(|known| Some(&known.endorsement) != endorsement) {
        return Err(EnrolmentError::KeyOfTpm);
    }
    if !good_for.another_tpm && storage.is_of_another_tpm(&host.name, endorsement).await? {
        return Err(EnrolmentError::OtherTpm { name: host.name });
    }
    let JoinCode { operator, .. } = storage.use_join_code(&code, &host.name, now_ms()).await?;
    let request = VaultRequest::IssueHost {
        csr: host.csr.0,
        name: host.name.clone(),
        vault,
    };
    let issued = match issue(service, request).await {
        Ok(issued) => issued,
        Err(error) => {
            // Refused, or not even asked: nothing was issued, the code may be tried again.
            if let IssueError::Vault(VaultError::Refused(_) | VaultError::Away { .. }) = error {
                storage.release_join_code(&code).await?;
            }
            return Err(error.into());
        }
    };
    let enrolled = EnrolledHost {
        card: issued.card,
        name: host.name,
        operator,
        enrolled_at_ms: now_ms(),
        certificate: issued.certificate.clone(),
        card_key: key_id,
        vault,
        tpm,
    };
    storage.add_host(&enrolled).await?;
    let (card, host, operator) = (issued.card, enrolled.name, enrolled.operator);
    tracing::info!(%card, host, operator, "host enrolled");
    Ok(document(&issued.known, issued.certificate))
}

fn kind(word: &str) -> Result<VaultKind, InputError> {
    VaultKind::named(word).ok_or(InputError::Field {
        field: "vault",
        expected: "`development`, `tpm2` or `pkcs11`",
    })
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
