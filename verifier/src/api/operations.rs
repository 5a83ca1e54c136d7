//! Running the service: its counters.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::access::Operator;
use crate::memory::MemoryBudget;
use crate::problem::{Problem, ProblemDocument};
use crate::service::Service;

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
        ("enclave_streams", service.streams.count() as u64),
        ("forked_vaults", forks),
        ("nonces_outstanding", outstanding),
        ("request_memory_free_bytes", free(&service.memory)),
        ("stranger_memory_free_bytes", free(&service.stranger_memory)),
        ("stream_memory_free_bytes", free(&service.stream_memory)),
    ]);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
