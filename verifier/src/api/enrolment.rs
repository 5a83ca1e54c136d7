//! Join codes and hosts.

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::certificates::{ChainError, Usage};
use bartizan_attestation::csr::{self, CsrError};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{VaultKind, VaultRequest};

use super::access::{Host, Operator};
use super::documents::{
    EnrolDocument, EnrolledDocument, HostDocument, HostsDocument, JoinCodeDocument,
    NewJoinCodeDocument, RenewalDocument,
};
use super::input::{self, InputError, Parameters};
use super::listing::{PageQuery, PageShare, Paid};
use super::tpm::{self, TpmError};
use crate::binary::Binary;
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::quota::RenewalQuotaError;
use crate::service::Service;
use crate::storage::{EnrolledHost, HostCursorError, JoinCode, JoinCodeError, StorageError};
use crate::vault::VaultError;

/// Longest life of a join code: one week.
const MAX_LIFETIME_S: u64 = 7 * 86_400;

/// A host was not enrolled or renewed, or a join code not made.
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
    /// The renewal's request proves no key.
    #[error("the request for a certificate is refused: {0}")]
    Request(#[from] CsrError),
    /// The TPM proved nothing.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The name is another TPM's.
    #[error(
        "host `{name}` is known with another TPM; if its TPM or board was replaced, revoke the host that was, or have a join code made by `bartizan host join-code --another-tpm`"
    )]
    OtherTpm {
        /// The host's name.
        name: String,
    },
    /// The renewal is asked for another key than the one that the host is known by.
    #[error(
        "a host's certificate is renewed for the key that it has; enrol a host anew for another"
    )]
    OtherKey,
    /// The host is not in the list of those that enrolled.
    #[error("this host is not in the list of enrolled hosts; enrol it anew")]
    NotListed,
    /// The host renews too often.
    #[error(transparent)]
    Quota(#[from] RenewalQuotaError),
    /// The service is ending.
    #[error("the verifier is shutting down; try again")]
    Stopped,
}

impl ProblemType for EnrolmentError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::JoinCode(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::Issued(_) => ("vault-unexpected", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Storage(error) => error.kind(),
            Self::NoRandomness => ("no-randomness", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Request(_) => ("not-signable", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Tpm(error) => error.kind(),
            Self::OtherTpm { .. } => ("host-of-other-tpm", StatusCode::FORBIDDEN),
            Self::OtherKey => ("renewal-of-other-key", StatusCode::FORBIDDEN),
            Self::NotListed => ("host-not-listed", StatusCode::NOT_FOUND),
            Self::Quota(error) => error.kind(),
            Self::Stopped => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::JoinCode(error) => error.retry_after_s(),
            Self::Vault(error) => error.retry_after_s(),
            Self::Storage(error) => error.retry_after_s(),
            Self::Quota(error) => error.retry_after_s(),
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
    input::Json(wish, _share): input::Json<NewJoinCodeDocument>,
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
    (service.storage)
        .add_join_code(&sha256(&code), &wish.name, &good_for, now, expires_at_ms)
        .await?;
    let (operator, vault) = (good_for.operator, good_for.vault.name());
    tracing::info!(operator, host = wish.name, vault, "join code made");
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
    input::Json(host, share): input::Json<EnrolDocument>,
) -> Result<(StatusCode, Json<EnrolledDocument>), Problem> {
    check_name(&host.name)?;
    let vault = kind(&host.vault)?;
    // A task of its own: a host that was certified is listed, whether or not the client stays.
    let enrolling = tokio::spawn(async move {
        let enrolled = enrol(&service, host, vault).await;
        drop(share);
        enrolled
    });
    let enrolled = enrolling.await.map_err(|_| EnrolmentError::Stopped)??;
    Ok((StatusCode::CREATED, Json(enrolled)))
}

/// Renews the certificate of a host's card identity, for the key that it has.
///
/// At any time of its life, 8 times at once and once more each hour. Beyond that it is refused with 429
/// `host-renewals-exhausted`, and `Retry-After` says for how long.
#[utoipa::path(
    post, path = "/v1/hosts/renew", tag = "host",
    request_body = RenewalDocument,
    responses(
        (status = 200, body = EnrolledDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn renew(
    State(service): State<Arc<Service>>,
    host: Host,
    input::Json(wish, share): input::Json<RenewalDocument>,
) -> Result<Json<EnrolledDocument>, Problem> {
    let key = csr::verify(&wish.csr.0).map_err(EnrolmentError::from)?;
    if CardId(key.sha256()) != host.card {
        return Err(EnrolmentError::OtherKey.into());
    }
    let renewing = tokio::spawn(async move {
        let renewed = renew_listed(&service, host.card, wish).await;
        drop(share);
        renewed
    });
    let renewed = renewing.await.map_err(|_| EnrolmentError::Stopped)??;
    Ok(Json(renewed))
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
    let after = query.after.map(|after| after.parse()).transpose();
    let after = after.map_err(|_: HostCursorError| InputError::Field {
        field: "after",
        expected: "the `next` of the page before",
    })?;
    let page = service.storage.hosts(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|host| host.cursor().to_string());
    let mut forks = service.storage.forks().await?;
    let document = |host: EnrolledHost| {
        let forked = forks.iter().position(|fork| fork.card == host.card);
        let fork = forked.map(|at| forks.swap_remove(at).into());
        HostDocument {
            fork,
            ..host.into()
        }
    };
    let hosts = page.rows.into_iter().map(document).collect();
    Ok(share.answer(&HostsDocument { hosts, next }))
}

async fn enrol(
    service: &Service,
    host: EnrolDocument,
    vault: VaultKind,
) -> Result<EnrolledDocument, EnrolmentError> {
    let code = sha256(&host.join_code.0);
    let storage = &service.storage;
    let good_for = storage.join_code(&code, &host.name, now_ms()).await?;
    tpm::check_kind(good_for.vault, vault)?;
    let tpm = match vault {
        VaultKind::Tpm2 => {
            let key = csr::verify(&host.csr.0)?;
            let secrets = host.secrets.map_or_else(Vec::new, |secrets| secrets.0);
            Some(service.challenges.answered(&code, &key, &secrets)?)
        }
        VaultKind::Software | VaultKind::Pkcs11 => None,
    };
    let endorsement = tpm.as_ref().map(|tpm| &tpm.endorsement);
    if !good_for.another_tpm && storage.is_of_another_tpm(&host.name, endorsement).await? {
        return Err(EnrolmentError::OtherTpm { name: host.name });
    }
    let JoinCode { operator, .. } = storage.use_join_code(&code, &host.name, now_ms()).await?;
    let issued = match issue(service, host.csr.0, &host.name, vault).await {
        Ok(issued) => issued,
        Err(error) => {
            // Refused, or not even asked: nothing was issued, the code may be tried again.
            if let EnrolmentError::Vault(VaultError::Refused(_) | VaultError::Away { .. }) = error {
                storage.release_join_code(&code).await?;
            }
            return Err(error);
        }
    };
    let enrolled = EnrolledHost {
        card: issued.card,
        name: host.name,
        operator,
        enrolled_at_ms: now_ms(),
        certificate: issued.certificate,
        vault,
        tpm,
    };
    storage.add_host(&enrolled).await?;
    let (card, host, operator) = (issued.card, enrolled.name, enrolled.operator);
    tracing::info!(%card, host, operator, "host enrolled");
    Ok(issued.document)
}

async fn renew_listed(
    service: &Service,
    card: CardId,
    wish: RenewalDocument,
) -> Result<EnrolledDocument, EnrolmentError> {
    let storage = &service.storage;
    let host = storage.host(card).await?;
    let host = host.ok_or(EnrolmentError::NotListed)?;
    // Before the vault is asked, and not given back where it fails: it may have signed all the same.
    service.renewals.spend(card, Instant::now())?;
    let issued = issue(service, wish.csr.0, &host.name, host.vault).await?;
    storage.renew_host(card, &issued.certificate).await?;
    tracing::info!(%card, host = host.name, "host renewed");
    Ok(issued.document)
}

/// What the vault issued for a card.
struct Issued {
    card: CardId,
    /// DER.
    certificate: Vec<u8>,
    document: EnrolledDocument,
}

async fn issue(
    service: &Service,
    csr: Vec<u8>,
    name: &str,
    vault: VaultKind,
) -> Result<Issued, EnrolmentError> {
    let name = name.to_owned();
    let request = VaultRequest::IssueHost { csr, name, vault };
    let chain = service.vault.certificates(request).await?;
    let (known, verified) = service.anchors.issued(&chain, Usage::Card).await?;
    // Who trusts the present CA from now on is to know this server.
    if let Err(error) = service.tls.follow().await {
        tracing::error!(%error, "the TLS server's certificate is a former fleet CA's still; trying again");
    }
    // INVARIANT: a card's chain is its own certificate, which names its card.
    let card = verified.card.ok_or(ChainError::AlternativeName)?;
    let certificate = chain.first().cloned().unwrap_or_default();
    let document = EnrolledDocument {
        chain: chain.into_iter().map(Binary).collect(),
        fleet_ca: known.ca.der().to_vec().into(),
    };
    Ok(Issued {
        card,
        certificate,
        document,
    })
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
