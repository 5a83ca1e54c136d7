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
use bartizan_attestation::measurement::{MeasurementRequest, Refusal, Report, SignedReport};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::verifying::apart;
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
    let spent = guest.budget.admit(Instant::now())?;
    expect_cose(&headers)?;
    let body = body?;
    let (signed, signers) = (body.clone(), guest.signers());
    let (request, signer) = apart(&guest, move || authenticate(&signed, signers)).await?;
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
    let (report, pause) = measure(&guest, body.to_vec()).await?;
    spent.paused(Instant::now(), pause);
    let judge = CardRequest::Judge {
        report: report.clone(),
        guest_chain: signer.chain,
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
        pause_us = pause.as_micros(),
        took_ms = begun.elapsed().as_millis(),
        "memory attested"
    );
    Ok(Json(json!({
        "report": B64.encode(&report.message),
        "page_digests": report.page_digests.map(|digests| B64.encode(digests)),
        "token": judgement.token,
        "verdict": judgement.verdict,
        "token_certificates": nonce::encoded(&judgement.token_certificates),
        "fleet_cas": judgement.fleet_cas,
    })))
}

/// Refuses what does not even say that it is a COSE message.
pub(super) fn expect_cose(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_TYPE) {
        Some(kind) if kind == COSE => Ok(()),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            format!("send a COSE_Sign1 as {COSE}"),
        )),
    }
}

/// The request, and which of this guest's keys signed it.
fn authenticate(
    body: &[u8],
    signers: Vec<Enrolled>,
) -> Result<(MeasurementRequest, Enrolled), Refusal> {
    if signers.is_empty() {
        return Err(Refusal::NotEnrolled);
    }
    let message = Unverified::parse(body, MessageType::MeasurementRequest)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    for signer in signers {
        if let Ok(payload) = message.clone().verify(&signer.key) {
            return Ok((MeasurementRequest::decode(&payload)?, signer));
        }
    }
    Err(Refusal::WrongSigner)
}

/// The report, and the pause that it owns up to.
async fn measure(guest: &Guest, request: Vec<u8>) -> Result<(SignedReport, Duration), Problem> {
    let reply = guest
        .supervisor
        .ask(&SupervisorRequest::Measure { request })
        .await?;
    match reply {
        SupervisorReply::Measured(Outcome::Report(report)) => {
            let pause = pause_of(&report.message)
                .map_err(|why| Problem::new(StatusCode::BAD_GATEWAY, "host-internal", why))?;
            Ok((report, pause))
        }
        SupervisorReply::Measured(Outcome::Refused(refusal)) => Err(refusal.into()),
        _ => Err(Refusal::Unavailable.into()),
    }
}

/// The pause that a report owns up to; for the budget only, the report is judged by the verifier.
fn pause_of(signed: &[u8]) -> Result<Duration, String> {
    let message =
        Unverified::parse(signed, MessageType::Report).map_err(|error| error.to_string())?;
    let report = Report::decode(message.unverified_payload()).map_err(|error| error.to_string())?;
    Ok(Duration::from_micros(report.snapshot.pause_us))
}
