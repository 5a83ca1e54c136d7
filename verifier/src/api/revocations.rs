//! Revocations.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::access::{Host, Operator};
use super::body::Bodiless;
use super::documents::{
    NewRevocationDocument, OperatorStandingDocument, RevocationQuery, RevocationsDocument,
};
use super::input::{self, InputError, Parameters, Segment};
use super::listing::{PageQuery, PageShare, Paid};
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{Revocation, RevocationKind, StorageError};
use crate::task::to_its_end;

/// A revocation was not made or taken back.
#[derive(Debug, thiserror::Error)]
enum RevocationRouteError {
    /// There is none.
    #[error("this subject is not revoked; see GET /v1/revocations")]
    NotFound,
    /// Operators cannot lock themselves out.
    #[error("an operator cannot revoke itself; ask another operator")]
    Oneself,
}

impl ProblemType for RevocationRouteError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NotFound => ("no-revocation", StatusCode::NOT_FOUND),
            Self::Oneself => ("revocation-of-oneself", StatusCode::CONFLICT),
        }
    }
}

/// Revokes a host, guest, application or operator; every request that comes after the answer is refused.
#[utoipa::path(
    post, path = "/v1/revocations", tag = "operator",
    request_body = NewRevocationDocument,
    responses(
        (status = 204, description = "It is revoked."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    operator: Operator,
    input::Json(wish, share): input::Json<NewRevocationDocument>,
) -> Result<StatusCode, Problem> {
    wish.kind.check(&wish.subject)?;
    if !(1..=1000).contains(&wish.reason.len()) {
        return Err(InputError::Field {
            field: "reason",
            expected: "1 to 1000 bytes",
        }
        .into());
    }
    if wish.kind == RevocationKind::Operator && wish.subject == operator.name {
        return Err(RevocationRouteError::Oneself.into());
    }
    let revocation = Revocation {
        kind: wish.kind,
        subject: wish.subject,
        reason: wish.reason,
        operator: operator.name,
        created_at_ms: now_ms(),
    };
    to_its_end(share, async move {
        let done = service.storage.revoke(&revocation).await?;
        let Revocation {
            kind,
            subject,
            operator,
            ..
        } = revocation;
        if done {
            service.streams.decided();
            tracing::warn!(kind = kind.word(), subject, operator, "revoked");
        }
        Ok::<_, StorageError>(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The revocations in force, newest first.
#[utoipa::path(
    get, path = "/v1/revocations", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = RevocationsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let after = query.cursor()?;
    let page = service.storage.revocations(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|revocation| revocation.cursor().to_string());
    let revocations = page.rows.into_iter().map(Into::into).collect();
    Ok(share.answer(&RevocationsDocument { revocations, next }))
}

/// How an operator stands: no host launches what a revoked one signed.
#[utoipa::path(
    get, path = "/v1/operators/{name}/standing", tag = "host",
    params(("name" = String, Path, description = "The operator's name.")),
    responses(
        (status = 200, body = OperatorStandingDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn operator_standing(
    State(service): State<Arc<Service>>,
    _host: Host,
    Segment(operator): Segment,
) -> Result<Json<OperatorStandingDocument>, Problem> {
    let storage = &service.storage;
    let revoked = storage.is_revoked(RevocationKind::Operator, &operator);
    let revoked = revoked.await?;
    Ok(Json(OperatorStandingDocument { operator, revoked }))
}

/// Takes a revocation back. That it was made, and taken back by whom, stays in `GET /v1/revocations/history`.
#[utoipa::path(
    delete, path = "/v1/revocations", tag = "operator",
    params(RevocationQuery),
    responses(
        (status = 204, description = "It is taken back."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reinstate(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Parameters(query): Parameters<RevocationQuery>,
    Bodiless(share): Bodiless,
) -> Result<StatusCode, Problem> {
    let done = to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let (kind, subject) = (query.kind, query.subject);
        let done = storage.reinstate(kind, &subject, &operator, now_ms());
        let done = done.await?;
        if done {
            tracing::warn!(
                kind = kind.word(),
                subject,
                operator,
                "revocation taken back"
            );
        }
        Ok::<_, StorageError>(done)
    });
    if done.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(RevocationRouteError::NotFound.into())
    }
}
