//! Verdicts, as operators read them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::access::Operator;
use super::documents::{VerdictDocument, VerdictQuery, VerdictsDocument};
use super::input::{Parameters, Segment};
use super::listing::{AnswerPayer, PageShare, Paid};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{StorageError, VerdictFilter};

/// There is no such verdict.
#[derive(Debug, thiserror::Error)]
#[error("there is no verdict with this id; see GET /v1/verdicts")]
struct NoVerdictError;

impl ProblemType for NoVerdictError {
    fn kind(&self) -> (&'static str, StatusCode) {
        ("no-verdict", StatusCode::NOT_FOUND)
    }
}

/// Verdicts, newest first.
#[utoipa::path(
    get, path = "/v1/verdicts", tag = "operator",
    params(VerdictQuery),
    responses(
        (status = 200, body = VerdictsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<VerdictQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 100)?;
    let filter = VerdictFilter {
        guest: query.guest,
        application: query.application,
        after: query.after,
    };
    let page = service.storage.verdicts(&filter, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|verdict| verdict.id.clone());
    let verdicts = page.rows.into_iter().map(TryInto::try_into);
    let verdicts = verdicts.collect::<Result<_, StorageError>>()?;
    Ok(share.answer(&VerdictsDocument { verdicts, next }))
}

/// One verdict, with its evidence.
#[utoipa::path(
    get, path = "/v1/verdicts/{id}", tag = "operator",
    params(("id" = String, Path, description = "The verdict's id.")),
    responses(
        (status = 200, body = VerdictDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(id): Segment,
    payer: AnswerPayer,
) -> Result<Paid, Problem> {
    let size = service.storage.verdict_size(&id).await?;
    let share = payer.take(&service, size.ok_or(NoVerdictError)?).await?;
    let verdict = service.storage.verdict(&id).await?;
    let document: VerdictDocument = verdict.ok_or(NoVerdictError)?.try_into()?;
    Ok(Paid::new(&document, share))
}
