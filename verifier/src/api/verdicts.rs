//! Verdicts, as operators read them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::access::Operator;
use super::documents::{VerdictDocument, VerdictQuery, VerdictsDocument};
use super::input::{InputError, Parameters, Segment};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::VerdictFilter;

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
) -> Result<Json<VerdictsDocument>, Problem> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(InputError::Field {
            field: "limit",
            expected: "1 to 1000",
        }
        .into());
    }
    let filter = VerdictFilter {
        guest: query.guest,
        application: query.application,
        after: query.after,
        limit,
    };
    let verdicts = service
        .storage
        .verdicts(&filter)
        .await?
        .into_iter()
        .map(Into::into)
        .collect();
    Ok(Json(VerdictsDocument { verdicts }))
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
) -> Result<Json<VerdictDocument>, Problem> {
    Ok(Json(
        service
            .storage
            .verdict(&id)
            .await?
            .ok_or(NoVerdictError)?
            .into(),
    ))
}
