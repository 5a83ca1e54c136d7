//! Renewal of the guest's key: see [`bartizan_attestation::renewal`].
//!
//! The request is judged twice. Here, so that the card certifies nothing for nobody; and by the supervisor, which keeps
//! what is enrolled and takes the new key in one step: of two requests at once, one is refused there.

use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use bartizan_attestation::host::{
    CardReply, CardRequest, Enrollment, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::renewal::{Renewal, RenewalRefusal, judge};
use serde_json::Value;

use super::verifying::apart;
use super::{Problem, ThisGuest, attest, enroll};
use crate::clock::unix_now_ms;
use crate::daemon::Guest;

/// Certifies a new key for the guest in place of the enrolled one.
pub(super) async fn renew(
    State(guest): ThisGuest,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let _spent = guest.budget.admit(Instant::now())?;
    attest::expect_cose(&headers)?;
    let body = body?;
    let enrollment = guest.enrollment().ok_or(RenewalRefusal::NotEnrolled)?;
    let (signed, enrolled) = (body.clone(), enrollment.clone());
    let renewal = apart(&guest, move || judge(&signed, &enrolled, unix_now_ms())).await?;
    let enrollment = match renewal {
        Renewal::Done => enrollment,
        Renewal::Due { csr, .. } => replace(&guest, body.to_vec(), csr).await?,
    };
    let fleet_cas = guest.fleet_cas().await?;
    Ok(enroll::certified(&guest, &enrollment.chain, &fleet_cas))
}

async fn replace(guest: &Guest, request: Vec<u8>, csr: Vec<u8>) -> Result<Enrollment, Problem> {
    let internal = |what| Problem::new(StatusCode::BAD_GATEWAY, "host-internal", what);
    let certify = CardRequest::CertifyGuestKey {
        csr,
        guest: guest.identity,
        launch_measurement: guest.launch_measurement.clone(),
    };
    let CardReply::Chain(chain) = guest.card.ask(&certify).await? else {
        return Err(internal("the card answered something else"));
    };
    // The chain may be of a fleet CA that took another's place meanwhile.
    guest.fleet_cas().await?;
    let renew = SupervisorRequest::Renew { request, chain };
    match guest.supervisor.ask(&renew).await? {
        SupervisorReply::Renewed(enrollment) => {
            guest.enrolled(&enrollment)?;
            tracing::info!(guest = %guest.identity, "guest key renewed");
            Ok(enrollment)
        }
        SupervisorReply::NotRenewed(refusal) => Err(refusal.into()),
        _ => Err(internal("the supervisor answered something else")),
    }
}
