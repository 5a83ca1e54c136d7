//! Why a nonce was not issued or not accepted.

use std::time::Duration;

use axum::http::StatusCode;

use crate::problem::ProblemType;

/// A nonce was not issued or not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NonceError {
    /// Never issued, or so long ago (or before a restart) that it is forgotten.
    #[error("this verifier has not issued that nonce, or no longer knows it; ask for a new one")]
    Unknown,
    /// Accepted once already: a replay.
    #[error("that nonce was used already; ask for a new one")]
    Used,
    /// Too old.
    #[error("that nonce has expired; ask for a new one")]
    Expired,
    /// Issued to another guest.
    #[error("that nonce was issued to another guest")]
    Foreign,
    /// The guest has too many outstanding.
    #[error("this guest has {limit} nonces outstanding; use them or let them expire")]
    GuestExhausted {
        /// The bound.
        limit: usize,
        /// By when the oldest have expired.
        retry_after: Duration,
    },
    /// The host's guests have too many outstanding.
    #[error("this host's guests have {limit} nonces outstanding; use them or let them expire")]
    HostExhausted {
        /// The bound.
        limit: usize,
        /// By when the oldest have expired.
        retry_after: Duration,
    },
    /// Too many were issued to all guests within one lifetime.
    #[error("{limit} nonces were issued within their lifetime; try again later")]
    Exhausted {
        /// The bound.
        limit: usize,
        /// By when the oldest have expired.
        retry_after: Duration,
    },
    /// The random number generator failed.
    #[error("the random number generator failed; see the system's log")]
    NoRandomness,
}

impl ProblemType for NonceError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Unknown => ("nonce-unknown", StatusCode::FORBIDDEN),
            Self::Used => ("nonce-used", StatusCode::FORBIDDEN),
            Self::Expired => ("nonce-expired", StatusCode::FORBIDDEN),
            Self::Foreign => ("nonce-foreign", StatusCode::FORBIDDEN),
            Self::GuestExhausted { .. } => {
                ("guest-nonces-exhausted", StatusCode::TOO_MANY_REQUESTS)
            }
            Self::HostExhausted { .. } => ("host-nonces-exhausted", StatusCode::TOO_MANY_REQUESTS),
            Self::Exhausted { .. } => ("nonces-exhausted", StatusCode::SERVICE_UNAVAILABLE),
            Self::NoRandomness => ("no-randomness", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::GuestExhausted { retry_after, .. }
            | Self::HostExhausted { retry_after, .. }
            | Self::Exhausted { retry_after, .. } => Some(retry_after.as_secs().max(1)),
            _ => None,
        }
    }
}
