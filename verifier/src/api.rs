//! The REST API: JSON over TLS 1.3; binary fields are base64url without padding, errors are problem
//! documents (RFC 9457). `openapi.json` beside this crate's manifest is its description.
//!
//! | who | may |
//! |---|---|
//! | everybody | fetch keys and certificates, enrol a host with a join code |
//! | hosts (client certificate by their card) | fetch the bundle that they are booted from, hand in the log of their boot; once it was accepted, fetch nonces, hand in reports of their own guests, report in with their vaults, get their next certificates |
//! | enclaves (client certificate by their card) | hold a stream open ([`crate::streams`]), over HTTP/2; nothing here |
//! | operators (client certificate) | all else |

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};

use crate::config::Limits;
use crate::problem::{Problem, ProblemKind, ProblemType};
use crate::service::Service;

mod access;
mod body;
mod boots;
mod bundles;
mod counters;
mod decisions;
mod documents;
mod enclave_evidence;
mod enrolment;
mod firmware;
mod fleet_cas;
mod guest_commands;
mod input;
mod issuing;
mod keys;
mod listing;
mod open;
pub mod openapi;
mod operations;
mod policies;
mod policies_in_force;
mod profiles;
mod releases;
mod reports;
mod revocations;
mod succession;
mod tpm;
mod verdicts;

pub use access::AccessError;
pub use body::BodyError;
pub use counters::Origin;
pub use input::InputError;
pub use reports::read_submission;
pub use tpm::Challenges;

use body::{BodyLimit, announced};

/// A request was not for anything that is here, or took too long.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// No such path.
    #[error("there is nothing at this path; see GET /openapi.json")]
    NotFound,
    /// Not with this method.
    #[error("this path does not have that method; see GET /openapi.json")]
    Method,
    /// Its body has a coding, which no path takes.
    #[error("the request has a Transfer-Encoding; send the body with its Content-Length alone")]
    Coding,
    /// The request's body did not arrive, or the answer was not ready, in time.
    #[error(
        "the request took more than {0} s; send its body faster; what it changes may have been done: look, and try again"
    )]
    Timeout(u64),
}

impl ProblemType for RoutingError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND),
            Self::Method => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::Coding => ("length-required", StatusCode::LENGTH_REQUIRED),
            Self::Timeout(_) => ("request-timeout", StatusCode::REQUEST_TIMEOUT),
        }
    }
}

/// The routes. Each request must carry its connection's [`Peer`](crate::peer::Peer) as an extension;
/// one without is anonymous.
pub fn router(service: Arc<Service>) -> Router {
    let limits = service.config.limits;
    let sized = |bytes: usize, expansion| Extension(BodyLimit { bytes, expansion });
    let reports = Router::new()
        .route("/v1/reports", post(reports::submit))
        .layer(sized(limits.report_body_bytes, Limits::REPORT_EXPANSION));
    let profiles = Router::new()
        .route(
            "/v1/profiles/{application}",
            get(profiles::show)
                .put(profiles::put)
                .delete(profiles::withdraw),
        )
        .layer(sized(limits.profile_body_bytes, Limits::PROFILE_EXPANSION));
    let boots = Router::new()
        .route("/v1/hosts/boot", post(boots::hand_in))
        .route("/v1/releases", post(releases::register).get(releases::list))
        .layer(sized(limits.boot_body_bytes, Limits::BOOT_EXPANSION));
    let policies = Router::new()
        .route("/v1/policies", put(policies::apply).get(policies::list))
        .route(
            "/v1/policies/{name}",
            get(policies::show).delete(policies::withdraw),
        )
        .route("/v1/policy-set/in-force", get(policies_in_force::list))
        .layer(sized(limits.policy_body_bytes, Limits::POLICY_EXPANSION));
    let bundles = Router::new()
        .route("/v1/bundles", post(bundles::publish))
        .route("/v1/bundles/{release_key}", get(bundles::newest))
        .layer(Extension(bundles::Serving::new(&limits)))
        .layer(Extension(bundles::Publishing::default()));
    let others = Router::new()
        .route("/.well-known/jwks.json", get(open::jwks))
        .route("/healthz", get(open::health))
        .route("/openapi.json", get(open::description))
        .route("/v1/fleet-ca", get(fleet_cas::show))
        .route("/v1/token-certificates", get(open::token_certificates))
        .route("/v1/hosts", post(enrolment::enroll).get(enrolment::hosts))
        .route("/v1/hosts/tpm-challenge", post(tpm::challenge))
        .route("/v1/hosts/counter", post(counters::report))
        .route("/v1/hosts/{card}/fork", delete(counters::clear))
        .route("/v1/hosts/succeed", post(succession::succeed))
        .route("/v1/hosts/{card}/boot", get(boots::latest))
        .route("/v1/hosts/{card}/boots", get(boots::list))
        .route("/v1/hosts/{card}/evidence", get(enclave_evidence::list))
        .route("/v1/hosts/{card}/firmware", get(firmware::shown))
        .route("/v1/firmware", post(firmware::register).get(firmware::list))
        .route("/v1/firmware/{id}", delete(firmware::retire))
        .route("/v1/releases/{manifest}", delete(releases::retire))
        .route("/v1/join-codes", post(enrolment::add_join_code))
        .route("/v1/nonces", post(reports::issue_nonce))
        .route("/v1/profiles", get(profiles::list))
        .route("/v1/verdicts", get(verdicts::list))
        .route("/v1/verdicts/{id}", get(verdicts::show))
        .route(
            "/v1/revocations",
            get(revocations::list)
                .post(revocations::revoke)
                .delete(revocations::reinstate),
        )
        .route("/v1/revocations/history", get(decisions::history))
        .route(
            "/v1/guest-commands",
            post(guest_commands::order).get(guest_commands::list),
        )
        .route(
            "/v1/operators/{name}/standing",
            get(revocations::operator_standing),
        )
        .route("/v1/keys", get(keys::list))
        .route("/v1/keys/history", get(keys::history))
        .route("/v1/keys/sealing/rotate", post(keys::rotate_sealing))
        .route("/v1/keys/fleet-ca/rotate", post(fleet_cas::rotate))
        .route("/v1/keys/{kind}/rotate", post(keys::rotate))
        .route("/v1/keys/{kind}/{id}", delete(keys::revoke))
        .route("/metrics", get(operations::metrics))
        .layer(sized(limits.body_bytes, 1));
    reports
        .merge(profiles)
        .merge(boots)
        .merge(bundles)
        .merge(policies)
        .merge(others)
        .fallback(async || Problem::from(RoutingError::NotFound))
        .method_not_allowed_fallback(async || Problem::from(RoutingError::Method))
        .layer(from_fn_with_state(Arc::clone(&service), supervise))
        .with_state(service)
}

/// Bounds a request's time and counts its outcome.
async fn supervise(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let limits = &service.config.limits;
    let announced = announced(request.headers()).unwrap_or(0);
    let time = limits.request_time(announced.min(limits.largest_body()));
    let response = if request.headers().contains_key(header::TRANSFER_ENCODING) {
        // With a length beside it, a proxy in between may see another end of this request, and another
        // request after it, than hyper does: nothing more is read of it (RFC 9112 section 6.3).
        let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
        (close, Problem::from(RoutingError::Coding)).into_response()
    } else {
        let timeout = |_| Problem::from(RoutingError::Timeout(time.as_secs())).into_response();
        tokio::time::timeout(time, next.run(request))
            .await
            .unwrap_or_else(timeout)
    };
    let problem = response
        .extensions()
        .get::<ProblemKind>()
        .map(|kind| kind.0);
    service
        .metrics
        .responded(response.status().as_u16(), problem);
    response
}
