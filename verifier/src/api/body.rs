//! Bodies of requests: bounded in size, paid for before they are read, and in time.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::access::peer;
use crate::config::Limits;
use crate::memory::{MemoryError, Share};
use crate::payer::Payer;
use crate::problem::{Problem, ProblemType};
use crate::service::Service;

/// The least that a request is charged, in bytes: what it costs however small its body is.
const LEAST_CHARGE: usize = 64 << 10;

/// What the bodies of a route may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit {
    /// Most bytes.
    pub(super) bytes: usize,
    /// How many times its size the work with a body takes in memory, at most.
    pub(super) expansion: usize,
}

impl BodyLimit {
    /// What a body of `size` bytes is charged, in bytes.
    pub(super) const fn charge(self, size: usize) -> usize {
        let worst = size.saturating_mul(self.expansion);
        if worst < LEAST_CHARGE {
            LEAST_CHARGE
        } else {
            worst
        }
    }
}

/// A request's whole body, and the share of the memory that it and the work with it take.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// To be kept until nothing of the request is in memory any more.
    pub(super) share: Share,
}

/// The share of the memory of a request that has no body, or one that is paid for otherwise: the least.
#[derive(Debug)]
pub(super) struct Bodiless(pub(super) Share);

/// How slowly a body may arrive, or be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long it may take to begin, or stand still.
    grace: Duration,
    bytes_per_s: u64,
}

/// A body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
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
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// It arrives too slowly.
    #[error(
        "{received} of the body's {size} bytes arrived, too slowly; send it at {bytes_per_s} bytes a second or more"
    )]
    TooSlow {
        /// What arrived, in bytes.
        received: usize,
        /// Announced size in bytes.
        size: usize,
        /// The least rate.
        bytes_per_s: u64,
    },
    /// The connection failed.
    #[error("the body did not arrive: {0}")]
    Broken(#[source] axum::Error),
    /// It ended early, or did not end.
    #[error("{received} bytes of a body of {size} arrived")]
    OtherLength {
        /// What arrived, in bytes.
        received: usize,
        /// Announced size in bytes.
        size: usize,
    },
}

impl FromRequest<Arc<Service>> for Body {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let limit = parts.extensions.get::<BodyLimit>().copied();
        let limit = limit.unwrap_or(BodyLimit {
            bytes: 0,
            expansion: 1,
        });
        let size = bounded(&parts, limit.bytes)?;
        let taken = service
            .take_memory(&payer(&parts), limit.charge(size))
            .await;
        let share = taken.map_err(BodyError::from)?;
        let bytes = arrival(body, size, Pace::of(&service.config.limits)).await?;
        let bytes = bytes.into();
        Ok(Self { bytes, share })
    }
}

impl FromRequestParts<Arc<Service>> for Bodiless {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let taken = service.take_memory(&payer(parts), LEAST_CHARGE).await;
        Ok(Self(taken.map_err(BodyError::from)?))
    }
}

/// Who pays for a request.
pub(super) fn payer(parts: &Parts) -> Payer {
    let unknown = || Payer::of(&peer(parts), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let known = parts.extensions.get::<Payer>().cloned();
    known.unwrap_or_else(unknown)
}

/// How large the body is said to be.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// How large the body is going to be: at most `limit` bytes.
pub(super) fn bounded(parts: &Parts, limit: usize) -> Result<usize, BodyError> {
    let size = announced(&parts.headers).ok_or(BodyError::LengthRequired)?;
    if size > limit {
        return Err(BodyError::TooLarge { size, limit });
    }
    Ok(size)
}

/// Reads a body of `size` bytes, as long as it keeps pace.
pub(super) async fn arrival(
    body: axum::body::Body,
    size: usize,
    pace: Pace,
) -> Result<Vec<u8>, BodyError> {
    let begun = Instant::now();
    let mut body = pin!(body);
    // Untouched memory costs nothing.
    let mut bytes = Vec::with_capacity(size);
    loop {
        let received = bytes.len();
        let due = begun + pace.due(received);
        let too_slow = |_| BodyError::TooSlow {
            received,
            size,
            bytes_per_s: pace.bytes_per_s,
        };
        let frame = timeout_at(due, body.frame()).await.map_err(too_slow)?;
        let Some(frame) = frame.transpose().map_err(BodyError::Broken)? else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            if data.len() > size - received {
                return Err(BodyError::OtherLength {
                    received: received.saturating_add(data.len()),
                    size,
                });
            }
            bytes.extend_from_slice(data);
        }
    }
    if bytes.len() < size {
        return Err(BodyError::OtherLength {
            received: bytes.len(),
            size,
        });
    }
    Ok(bytes)
}

impl Pace {
    /// As the configuration has it.
    pub(super) const fn of(limits: &Limits) -> Self {
        Self {
            grace: Duration::from_secs(limits.body_grace_s),
            bytes_per_s: limits.body_bytes_per_s,
        }
    }

    /// By when, from the beginning, something must follow after `received` bytes.
    pub(super) fn due(self, received: usize) -> Duration {
        let paid_ms = (received as u64).saturating_mul(1000) / self.bytes_per_s.max(1);
        self.grace.saturating_add(Duration::from_millis(paid_ms))
    }
}

impl ProblemType for BodyError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::LengthRequired => ("length-required", StatusCode::LENGTH_REQUIRED),
            Self::TooLarge { .. } => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Memory(error) => error.kind(),
            Self::TooSlow { .. } => ("body-too-slow", StatusCode::REQUEST_TIMEOUT),
            Self::Broken(_) | Self::OtherLength { .. } => {
                ("body-truncated", StatusCode::BAD_REQUEST)
            }
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Memory(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
