//! What clients send, bounded and typed.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::body::Body;
use crate::memory::Share;
use crate::problem::{Problem, ProblemType};
use crate::service::Service;

/// A JSON body that became a `T`, and the share of the memory that it takes: to be kept as long as the `T` is.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T, pub(super) Share);

/// The variable part of a path, or a tuple of them.
#[derive(Debug)]
pub(super) struct Segment<T = String>(pub(super) T);

/// The query as a `T`.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

/// What a client sent cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The body is not the JSON that this path takes.
    #[error("the body is not what this path takes: {0}; see GET /openapi.json")]
    Malformed(#[from] serde_json::Error),
    /// The path's variable part is no text, or not one of those that there are.
    #[error("the path is not one of those that there are: {0}; see GET /openapi.json")]
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
}

impl<T: DeserializeOwned> FromRequest<Arc<Service>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let Body { bytes, share } = Body::from_request(request, service).await?;
        let value = serde_json::from_slice(&bytes).map_err(InputError::from)?;
        Ok(Self(value, share))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
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
            Self::Malformed(_) => ("body-malformed", StatusCode::BAD_REQUEST),
            Self::Path(_) => ("path-malformed", StatusCode::BAD_REQUEST),
            Self::Query(_) => ("query-malformed", StatusCode::BAD_REQUEST),
            Self::Field { .. } => ("field-out-of-range", StatusCode::UNPROCESSABLE_ENTITY),
        }
    }
}
