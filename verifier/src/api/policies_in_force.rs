//! Where which set of policies is in force, as enclaves say.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Operator;
use super::input::{InputError, Parameters};
use super::listing::{PageQuery, PageShare, Paid};
use crate::problem::{Problem, ProblemDocument};
use crate::service::Service;
use crate::storage::{HostPolicies, InForce, Refused};

/// How hosts stand to the set of policies.
#[derive(Serialize, ToSchema)]
pub(super) struct PoliciesInForceDocument {
    /// The number of the set that shall be in force; null before the first policy.
    number: Option<u64>,
    /// SHA-384 over it, 96 hexadecimal digits.
    digest: Option<String>,
    /// All enrolled hosts, by their cards.
    hosts: Vec<HostPoliciesDocument>,
    /// What `after` has to be for the next page; null on the last one.
    next: Option<String>,
}

/// How a host stands to it.
#[derive(Serialize, ToSchema)]
struct HostPoliciesDocument {
    /// The host's card.
    card: String,
    /// The host's name; null if it is not known here.
    name: Option<String>,
    /// Whether its enclave holds a stream open.
    connected: bool,
    /// What is in force there; null if its enclave never said.
    in_force: Option<InForceDocument>,
    /// What its enclave refused; null once a set of that number or a higher one was in force.
    refused: Option<RefusedDocument>,
}

/// A set that is in force.
#[derive(Serialize, ToSchema)]
struct InForceDocument {
    /// Its number.
    number: u64,
    /// SHA-384 over it, 96 hexadecimal digits.
    digest: String,
    /// For how many guests; null where that was not said.
    guests: Option<u64>,
    /// When that was said, in milliseconds since the Unix epoch.
    at_ms: u64,
}

/// A set that was refused.
#[derive(Serialize, ToSchema)]
struct RefusedDocument {
    /// Its number.
    number: u64,
    /// `rollback`, `author`, `malformed` or `failed`.
    reason: String,
    /// The enclave's words.
    detail: String,
    /// When that was said, in milliseconds since the Unix epoch.
    at_ms: u64,
}

impl From<InForce> for InForceDocument {
    fn from(set: InForce) -> Self {
        Self {
            number: set.number,
            digest: hex::encode(set.digest),
            guests: set.guests,
            at_ms: set.at_ms,
        }
    }
}

impl From<Refused> for RefusedDocument {
    fn from(set: Refused) -> Self {
        Self {
            number: set.number,
            reason: set.reason,
            detail: set.detail,
            at_ms: set.at_ms,
        }
    }
}

/// How all hosts stand to the set of policies.
#[utoipa::path(
    get, path = "/v1/policy-set/in-force", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = PoliciesInForceDocument),
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
    let after = query.after.map(|after| after.parse()).transpose();
    let after = after.map_err(|_| InputError::Field {
        field: "after",
        expected: "a card: 64 lower-case hexadecimal digits",
    })?;
    let page = service.storage.host_policies(after, limit).await?;
    let next = page.rows.last().filter(|_| page.more);
    let next = next.map(|host| host.card.to_string());
    let shown = |host: HostPolicies| HostPoliciesDocument {
        connected: service.streams.is_open(host.card),
        card: host.card.to_string(),
        name: host.name,
        in_force: host.in_force.map(Into::into),
        refused: host.refused.map(Into::into),
    };
    let (number, digest) = service.streams.current().unzip();
    Ok(share.answer(&PoliciesInForceDocument {
        number,
        digest: digest.map(hex::encode),
        hosts: page.rows.into_iter().map(shown).collect(),
        next,
    }))
}
