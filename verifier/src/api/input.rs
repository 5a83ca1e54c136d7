//! What clients send, bounded and typed.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::problem::{Problem, ProblemType};
use crate::service::Service;

/// Most bytes of a request's body, per route.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit(pub(super) usize);

/// A request's whole body, and the share of the memory for bodies that it takes until dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) _share: OwnedSemaphorePermit,
}

/// A JSON body that became a `T`.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// The one variable part of a path.
#[derive(Debug)]
pub(super) struct Segment(pub(super) String);

/// The query as a `T`.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

/// What a client sent cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// No `Content-Length`, so that it is not known how much memory the body takes.
    #[error("the request has no Content-Length; send the body with its length")]
    LengthRequired,
    /// The body is too large for this route.
    #[error("the body has {size} bytes, this path takes at most {limit}")]
    TooLarge {
        /// Announced size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The body ended early.
    #[error("the body did not arrive: {0}")]
    Truncated(#[source] axum::Error),
    /// The body is not the JSON that this path takes.
    #[error("the body is not what this path takes: {0}; see GET /openapi.json")]
    Malformed(#[from] serde_json::Error),
    /// The path's variable part is no text.
    #[error("the path is not UTF-8: {0}")]
    Path(#[from] PathRejection),
    /// The query has unknown, missing or ill-typed parameters.
    #[error("the query is not what this path takes: {0}; see GET /openapi.json")]
    Query(#[from] QueryRejection),
    /// The value of a field is out of its range.
    #[error("`{field}` must be {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// The service is ending.
    #[error("the verifier is shutting down; try again")]
    Closed,
}

impl FromRequest<Arc<Service>> for Body {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let limit = request
            .extensions()
            .get::<BodyLimit>()
            .map_or(0, |limit| limit.0);
        let size = (request.headers().get(header::CONTENT_LENGTH))
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
            .ok_or(InputError::LengthRequired)?;
        if size > limit {
            return Err(InputError::TooLarge { size, limit }.into());
        }
        let kib = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX);
        let share = Arc::clone(&service.body_kib)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| InputError::Closed)?;
        let bytes = to_bytes(request.into_body(), size)
            .await
            .map_err(InputError::Truncated)?;
        Ok(Self {
            bytes,
            _share: share,
        })
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Service>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let body = Body::from_request(request, service).await?;
        Ok(Self(
            serde_json::from_slice(&body.bytes).map_err(InputError::from)?,
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Path(segment) = Path::from_request_parts(parts, state)
            .await
            .map_err(InputError::from)?;
        Ok(Self(segment))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(InputError::from)?;
        Ok(Self(query))
    }
}

impl ProblemType for InputError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::LengthRequired => ("length-required", StatusCode::LENGTH_REQUIRED),
            Self::TooLarge { .. } => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Truncated(_) => ("body-truncated", StatusCode::BAD_REQUEST),
            Self::Malformed(_) => ("body-malformed", StatusCode::BAD_REQUEST),
            Self::Path(_) => ("path-malformed", StatusCode::BAD_REQUEST),
            Self::Query(_) => ("query-malformed", StatusCode::BAD_REQUEST),
            Self::Field { .. } => ("field-out-of-range", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Closed => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
