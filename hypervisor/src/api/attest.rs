//! `/attest_guest_memory`: from the guest's signed request to the verifier's signed result.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use bartizan_attestation::cose::{MessageType, Unverified};
use bartizan_attestation::host::{
    CardReply, CardRequest, Outcome, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::measurement::{MeasurementRequest, Refusal};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::{Problem, ThisGuest, nonce};
use crate::daemon::{Enrolled, Guest};

/// Media type of the request (RFC 9052 section 2).
const COSE: &str = "application/cose";

/// Measures and has it judged.
pub(super) async fn attest(
    State(guest): ThisGuest,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    if headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind != COSE)
    {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            format!("send a COSE_Sign1 as {COSE}"),
        ));
    }
    let body = body?;
    let enrolled = guest.enrollment().ok_or(Refusal::NotEnrolled)?;
    let request = authenticate(&body, &enrolled)?;
    let spent = guest.budget.admit(Instant::now())?;
    request.target.check()?;
    let size = request.target.size();
    let allowed = guest.record.budget.bytes_per_request;
    if size > allowed {
        return Err(Refusal::OverBudget {
            requested: size,
            allowed,
        }
        .into());
    }
    let begun = Instant::now();
    let report = measure(&guest, body.to_vec()).await?;
    spent.paused(Instant::now(), report.pause);
    let judge = CardRequest::Judge {
        report: report.signed.clone(),
        guest_chain: enrolled.chain.clone(),
    };
    let CardReply::Judged(judgement) = guest.card.ask(&judge).await? else {
        return Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "host-internal",
            "the card answered something else",
        ));
    };
    tracing::info!(
        guest = %guest.identity,
        application = request.application,
        verdict = judgement.verdict,
        pause_us = report.pause.as_micros(),
        took_ms = begun.elapsed().as_millis(),
        "memory attested"
    );
    Ok(Json(json!({
        "report": B64.encode(&report.signed),
        "token": judgement.token,
        "verdict": judgement.verdict,
        "token_certificates": nonce::encoded(&judgement.token_certificates),
    })))
}

/// The request, if this guest's enrolled key signed it.
fn authenticate(body: &[u8], enrolled: &Enrolled) -> Result<MeasurementRequest, Refusal> {
    let malformed = |error: &dyn std::error::Error| Refusal::Malformed(error.to_string());
    let message = Unverified::parse(body, MessageType::MeasurementRequest)
        .map_err(|error| malformed(&error))?;
    let payload = message
        .verify(&enrolled.key)
        .map_err(|_| Refusal::WrongSigner)?;
    MeasurementRequest::decode(&payload).map_err(Refusal::from)
}

struct SignedReport {
    signed: Vec<u8>,
    pause: Duration,
}

async fn measure(guest: &Guest, request: Vec<u8>) -> Result<SignedReport, Problem> {
    let reply = guest
        .supervisor
        .ask(&SupervisorRequest::Measure { request })
        .await?;
    match reply {
        SupervisorReply::Measured(Outcome::Report(signed)) => {
            let pause = pause_of(&signed)
                .map_err(|why| Problem::new(StatusCode::BAD_GATEWAY, "host-internal", why))?;
            Ok(SignedReport { signed, pause })
        }
        SupervisorReply::Measured(Outcome::Refused(refusal)) => Err(refusal.into()),
        _ => Err(Refusal::Unavailable.into()),
    }
}

/// The pause that a report owns up to; for the budget only, the report is judged by the verifier.
fn pause_of(signed: &[u8]) -> Result<Duration, String> {
    let message =
        Unverified::parse(signed, MessageType::Report).map_err(|error| error.to_string())?;
    let report = bartizan_attestation::measurement::Report::decode(message.unverified_payload())
        .map_err(|error| error.to_string())?;
    Ok(Duration::from_micros(report.snapshot.pause_us))
}
