//! What administrators decided of who is refused: also what was taken back since.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Operator;
use super::input::Parameters;
use super::listing::{PageQuery, PageShare, Paid};
use crate::problem::{Problem, ProblemDocument};
use crate::service::Service;
use crate::storage::{Decision, NumberedDecision, RevocationKind};

/// What was decided of who is refused.
#[derive(Serialize, ToSchema)]
pub(super) struct DecisionsDocument {
    /// Newest first.
    decisions: Vec<DecisionDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// Something that an administrator decided.
#[derive(Serialize, ToSchema)]
pub(super) struct DecisionDocument {
    /// Counts all decisions, from 1.
    number: u64,
    /// When, in milliseconds since the Unix epoch.
    at_ms: u64,
    /// Who decided it.
    operator: String,
    /// `revoked`, `reinstated`, which took that back, or `fork-cleared`.
    decision: &'static str,
    /// What kind of subject.
    kind: RevocationKind,
    /// The subject.
    subject: String,
    /// The reason of a revocation; of a fork, who had reported in.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<NumberedDecision> for DecisionDocument {
    fn from(NumberedDecision { number, decision }: NumberedDecision) -> Self {
        let Decision {
            at_ms,
            operator,
            what,
            kind,
            subject,
            why,
        } = decision;
        Self {
            number,
            at_ms,
            operator,
            decision: what.word(),
            kind,
            subject,
            why,
        }
    }
}

/// Who revoked what and took it back, and who cleared which forks. Nothing is dropped from it.
#[utoipa::path(
    get, path = "/v1/revocations/history", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = DecisionsDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn history(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let after = query.cursor()?;
    let page = service.storage.decisions(after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|last| last.number.to_string());
    let decisions = page.rows.into_iter().map(Into::into).collect();
    Ok(share.answer(&DecisionsDocument { decisions, next }))
}
