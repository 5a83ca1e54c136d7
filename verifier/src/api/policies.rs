//! Policies: applied as their authors signed them, and withdrawn.
//!
//! The verifier distributes: it holds no author's key, and enclaves verify again what they are sent, by authors of their own measured
//! configuration. What is verified here spares an operator to learn from every enclave what is wrong.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_policy::PolicyRefusal;
use bartizan_stream::limits::MAX_SET;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Operator;
use super::body::Bodiless;
use super::input::{self, Parameters, Segment};
use super::listing::{AnswerPayer, PageQuery, PageShare, Paid};
use crate::binary::Binary;
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::{CurrentSet, KeptPolicy, NewPolicy, PolicyConflict};
use crate::task::{blocking, to_its_end};

/// A policy was not applied or withdrawn.
#[derive(Debug, thiserror::Error)]
enum PolicyError {
    /// It is none, or its author may not.
    #[error("{0}; the authors are `policy_authors` of the verifier's configuration")]
    Refused(Box<PolicyRefusal>),
    /// It does not fit the set.
    #[error(transparent)]
    Conflict(#[from] PolicyConflict),
    /// There is none.
    #[error("no policy of this name is in the set; see GET /v1/policies")]
    NotFound,
}

impl ProblemType for PolicyError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Refused(refusal) => match **refusal {
                PolicyRefusal::UnknownAuthor(_) => ("policy-author-unknown", StatusCode::FORBIDDEN),
                PolicyRefusal::OutsideScope { .. } => {
                    ("policy-outside-scope", StatusCode::FORBIDDEN)
                }
                _ => ("policy-refused", StatusCode::UNPROCESSABLE_ENTITY),
            },
            Self::Conflict(PolicyConflict::Older { .. } | PolicyConflict::SerialTwice { .. }) => {
                ("policy-serial", StatusCode::CONFLICT)
            }
            Self::Conflict(PolicyConflict::SetTooLarge { .. }) => {
                ("policy-set-full", StatusCode::CONFLICT)
            }
            Self::NotFound => ("no-policy", StatusCode::NOT_FOUND),
        }
    }
}

/// A policy to be applied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPolicyDocument {
    /// As its author signed it (COSE_Sign1).
    policy: Binary,
}

/// The set of policies that shall be in force.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicySetDocument {
    /// Rises with each change.
    number: u64,
    /// SHA-384 over the set, 96 hexadecimal digits.
    digest: String,
    /// How many policies it has.
    policies: usize,
    /// When it was changed last, in milliseconds since the Unix epoch.
    changed_at_ms: u64,
}

impl From<&CurrentSet> for PolicySetDocument {
    fn from(set: &CurrentSet) -> Self {
        Self {
            number: set.number,
            digest: hex::encode(set.digest),
            policies: set.signed.len(),
            changed_at_ms: set.changed_at_ms,
        }
    }
}

/// A list of policies.
#[derive(Serialize, ToSchema)]
pub(super) struct PoliciesDocument {
    /// By name.
    policies: Vec<PolicyDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// What is kept of a policy: its newest issue.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicyDocument {
    /// Its name.
    name: String,
    /// Goes up with each issue.
    serial: u64,
    /// SHA-384 over its text, 96 hexadecimal digits.
    digest: String,
    /// Who signed it.
    author: String,
    /// Who applied it.
    operator: String,
    /// When, in milliseconds since the Unix epoch.
    applied_at_ms: u64,
    /// When it was withdrawn, in milliseconds since the Unix epoch; null while it is in the set.
    withdrawn_at_ms: Option<u64>,
    /// Who withdrew it.
    withdrawn_by: Option<String>,
}

/// A policy with its text.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedPolicyDocument {
    #[serde(flatten)]
    policy: PolicyDocument,
    /// As its author signed it.
    signed: Binary,
}

impl From<KeptPolicy> for PolicyDocument {
    fn from(policy: KeptPolicy) -> Self {
        let (withdrawn_at_ms, withdrawn_by) = policy.withdrawn.unzip();
        Self {
            name: policy.name,
            serial: policy.serial,
            digest: hex::encode(policy.digest),
            author: policy.author,
            operator: policy.operator,
            applied_at_ms: policy.applied_at_ms,
            withdrawn_at_ms,
            withdrawn_by,
        }
    }
}

/// Applies a policy: it takes the place of its former issue in the set, and all enclaves are sent the set. The same issue again
/// changes nothing; one that was withdrawn is in the set again.
#[utoipa::path(
    put, path = "/v1/policies", tag = "operator",
    request_body = NewPolicyDocument,
    responses(
        (status = 200, description = "It is in the set.", body = PolicySetDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn apply(
    State(service): State<Arc<Service>>,
    operator: Operator,
    payer: AnswerPayer,
    input::Json(document, share): input::Json<NewPolicyDocument>,
) -> Result<Json<PolicySetDocument>, Problem> {
    let set_share = payer.take(&service, MAX_SET).await?;
    let applying = async move {
        let _set_share = set_share;
        let signed = document.policy.0;
        let authors = service.config.policy_authors.clone();
        let verify = move || authors.verify(&signed).map(|policy| (policy, signed));
        let (authentic, signed) = blocking(verify)
            .await?
            .map_err(|refusal| PolicyError::Refused(Box::new(refusal)))?;
        let policy = authentic.policy();
        let new = NewPolicy {
            name: &policy.name,
            serial: policy.serial,
            digest: authentic.digest(),
            author: authentic.author(),
            signed: &signed,
        };
        let applied = service
            .storage
            .apply_policy(&new, &operator.name, now_ms())
            .await?;
        let set = applied.map_err(PolicyError::from)?;
        let (name, serial, operator) = (&policy.name, policy.serial, &operator.name);
        tracing::warn!(name, serial, operator, set = set.number, "policy applied");
        Ok::<_, Problem>(published(&service, set))
    };
    to_its_end(share, applying).await
}

/// The policies that were ever applied, the newest issue of each.
#[utoipa::path(
    get, path = "/v1/policies", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = PoliciesDocument),
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
    let page = service.storage.policies(query.after, limit).await?;
    let next = page.rows.last().filter(|_| page.more);
    let next = next.map(|policy| policy.name.clone());
    let policies = page.rows.into_iter().map(Into::into).collect();
    Ok(share.answer(&PoliciesDocument { policies, next }))
}

/// One policy, its newest issue, with its text as it was signed.
#[utoipa::path(
    get, path = "/v1/policies/{name}", tag = "operator",
    params(("name" = String, Path, description = "Its name; `/` in it is written `%2F`.")),
    responses(
        (status = 200, body = SignedPolicyDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(name): Segment,
    payer: AnswerPayer,
) -> Result<Paid, Problem> {
    let policy = service.storage.policy(&name).await?;
    let policy = policy.ok_or(PolicyError::NotFound)?;
    let size = usize::try_from(policy.size).unwrap_or(usize::MAX);
    let share = payer.take(&service, size).await?;
    let signed = service.storage.signed_policy(&name).await?;
    let document = SignedPolicyDocument {
        policy: policy.into(),
        signed: Binary(signed.ok_or(PolicyError::NotFound)?),
    };
    Ok(Paid::new(&document, share))
}

/// Withdraws a policy: all enclaves are sent the set without it. No issue of it that is older can be applied afterwards.
#[utoipa::path(
    delete, path = "/v1/policies/{name}", tag = "operator",
    params(("name" = String, Path, description = "Its name; `/` in it is written `%2F`.")),
    responses(
        (status = 200, description = "It is not in the set any more.", body = PolicySetDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn withdraw(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment(name): Segment,
    payer: AnswerPayer,
    Bodiless(share): Bodiless,
) -> Result<Json<PolicySetDocument>, Problem> {
    let set_share = payer.take(&service, MAX_SET).await?;
    let withdrawing = async move {
        let _set_share = set_share;
        let (storage, operator) = (&service.storage, operator.name);
        let set = storage.withdraw_policy(&name, &operator, now_ms()).await?;
        let set = set.ok_or(PolicyError::NotFound)?;
        tracing::warn!(name, operator, set = set.number, "policy withdrawn");
        Ok::<_, Problem>(published(&service, set))
    };
    to_its_end(share, withdrawing).await
}

/// Hands the set to all streams.
fn published(service: &Service, set: CurrentSet) -> Json<PolicySetDocument> {
    let document = PolicySetDocument::from(&set);
    service.streams.publish(set);
    Json(document)
}
