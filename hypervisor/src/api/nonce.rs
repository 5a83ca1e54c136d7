//! What the verifier gives a guest beforehand: nonces, and the certificates of its token keys.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::host::{CardReply, CardRequest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::{Problem, ThisGuest};

/// Relays a nonce of the verifier's, bound to this guest.
pub(super) async fn nonce(State(guest): ThisGuest) -> Result<Json<Value>, Problem> {
    let _spent = guest.budget.admit(Instant::now())?;
    match guest
        .card
        .ask(&CardRequest::Nonce {
            guest: guest.identity,
        })
        .await?
    {
        CardReply::Nonce(nonce) => Ok(Json(json!({ "nonce": B64.encode(nonce) }))),
        _ => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "host-internal",
            "the card answered something else",
        )),
    }
}

/// The token keys' chains at present. The guest checks them against the anchor that it was launched with.
pub(super) async fn token_certificates(State(guest): ThisGuest) -> Result<Json<Value>, Problem> {
    let _spent = guest.budget.admit(Instant::now())?;
    let host = guest.card.host().await?;
    Ok(Json(json!({
        "token_certificates": encoded(&host.token_certificates),
        "fleet_cas": host.fleet_cas,
    })))
}

pub(super) fn encoded(certificates: &[minicbor::bytes::ByteVec]) -> Vec<String> {
    certificates
        .iter()
        .map(|certificate| B64.encode(&**certificate))
        .collect()
}
