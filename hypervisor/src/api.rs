//! The guest API: HTTP/1.1 over the guest's vsock, which arrives here as one Unix socket a guest, so
//! that the socket, not anything that a guest says, tells which guest is asking.
//!
//! | route | answer |
//! |---|---|
//! | `POST /launch_secret` | the launch secret, to the first who asks in a boot |
//! | `POST /enroll` | a certificate for a key made in the guest |
//! | `POST /renew` | a certificate for a new key, in place of the enrolled one |
//! | `POST /attestation_nonce` | the verifier's nonce |
//! | `POST /attest_guest_memory` | signed report and attestation result |
//! | `GET /token_certificates` | the certificates of the verifier's token keys, and the fleet's CAs |
//!
//! Where certificates are answered, the fleet's CAs are beside them, and what links them: a guest pins what its record says, which may
//! be a CA that was replaced since.
//!
//! Every error is a problem document (RFC 9457) of its own type.
//!
//! Known attack: a guest floods, with requests that cost its host more than itself. Each request of each route is first
//! admitted by the guest's one budget, and what it spent is spent, however it ends; signatures are verified one at a time
//! for a guest, on no thread that serves.

mod attest;
mod budget;
mod enroll;
mod nonce;
mod problem;
mod renew;
mod server;
mod verifying;

pub use budget::{Budget, Spent};
pub use problem::Problem;
pub use server::serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::Uri;
use axum::routing::{get, post};

use crate::daemon::Guest;

/// Largest request body in bytes: a request names at most 256 regions.
const MAX_BODY: usize = 64 << 10;

/// The routes of one guest's API.
pub fn router(guest: Arc<Guest>) -> Router {
    Router::new()
        .route("/launch_secret", post(enroll::launch_secret))
        .route("/enroll", post(enroll::enroll))
        .route("/renew", post(renew::renew))
        .route("/attestation_nonce", post(nonce::nonce))
        .route("/attest_guest_memory", post(attest::attest))
        .route("/token_certificates", get(nonce::token_certificates))
        .fallback(|uri: Uri| async move { Problem::no_such_route(&uri) })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(guest)
}

type ThisGuest = State<Arc<Guest>>;
