//! Problem documents (RFC 9457): what a client is told when nothing was granted.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An error that the API tells of: its type, its HTTP status and its message.
///
/// Every error enum of this crate that can reach a client implements this, one type per variant.
pub trait ProblemType: std::error::Error {
    /// The last part of `urn:bartizan:problem:<kind>`, and the HTTP status.
    fn kind(&self) -> (&'static str, StatusCode);

    /// After how many seconds it is worth trying again, where that is known.
    fn retry_after_s(&self) -> Option<u64> {
        None
    }
}

/// A problem on its way to the client.
#[derive(Debug)]
pub struct Problem {
    kind: &'static str,
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u64>,
}

/// The document as it is sent, `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub struct ProblemDocument {
    /// `urn:bartizan:problem:` and a kebab-case name; the part to act on.
    #[schema(example = "urn:bartizan:problem:nonce-used")]
    r#type: String,
    /// The HTTP status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request and what to do next.
    detail: String,
}

impl Problem {
    /// The kebab-case name.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

impl<E: ProblemType> From<E> for Problem {
    fn from(error: E) -> Self {
        let (kind, status) = error.kind();
        let detail = error.to_string();
        if status.is_server_error() {
            tracing::error!(kind, %detail, "request failed");
        } else {
            tracing::info!(kind, %detail, "request refused");
        }
        Self {
            kind,
            status,
            detail,
            retry_after_s: error.retry_after_s(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            r#type: format!("urn:bartizan:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(ProblemKind(self.kind));
        response
    }
}

/// Marks a response as a problem, for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct ProblemKind(pub &'static str);
