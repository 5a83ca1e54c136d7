//! Running the service: its token keys and its counters.

use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Operator;
use crate::binary::Binary;
use crate::memory::MemoryBudget;
use crate::problem::{Problem, ProblemDocument};
use crate::service::Service;
use crate::token_keys::TokenKeysError;
use crate::vault::VaultError;

/// The key that signs from now on.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenKeyDocument {
    /// SHA-256 of its certificate: its `kid`.
    kid: String,
    /// Last second of its validity, since the Unix epoch.
    not_after: u64,
}

/// Replaces the token key; the old ones stay published to the end of their validity. 409 while as many are valid as
/// there may be.
#[utoipa::path(
    post, path = "/v1/token-keys/rotate", tag = "operator",
    responses(
        (status = 200, body = TokenKeyDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate_token_key(
    State(service): State<Arc<Service>>,
    operator: Operator,
) -> Result<Json<TokenKeyDocument>, Problem> {
    // A task of its own: a rotation that was begun is ended, whether or not the client stays.
    let rotating = tokio::spawn(async move {
        let key = service.token_keys.replace().await?;
        let kid = Binary::encode(&key.sha256);
        tracing::info!(operator = operator.name, kid, "token key rotated");
        Ok::<_, TokenKeysError>(TokenKeyDocument {
            kid,
            not_after: key.not_after,
        })
    });
    let key = rotating.await.map_err(|_| VaultError::Stopped)??;
    Ok(Json(key))
}

/// Counters in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operator",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(
    State(service): State<Arc<Service>>,
    _operator: Operator,
) -> Result<impl IntoResponse, Problem> {
    let forks = service.storage.count_forks().await?;
    let outstanding = service
        .nonces
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .outstanding() as u64;
    let free = |budget: &MemoryBudget| budget.free() as u64;
    let text = service.metrics.render(&[
        ("forked_vaults", forks),
        ("nonces_outstanding", outstanding),
        ("request_memory_free_bytes", free(&service.memory)),
        ("stranger_memory_free_bytes", free(&service.stranger_memory)),
    ]);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
