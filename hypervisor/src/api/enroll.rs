//! Enrolment: a key made in the guest, bound to the launch by a secret that is handed out once a boot.
//!
//! Known attack: whoever in the guest asks second wants an identity too. The secret goes to the first
//! caller of a boot only, and only its holder's key is certified, once.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use bartizan_attestation::certificates::Lineage;
use bartizan_attestation::host::{
    CardReply, CardRequest, Enrollment, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::keys::Chain;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Problem, ThisGuest};
use crate::daemon::Guest;

/// Longest CSR in bytes.
const MAX_CSR: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrollRequest {
    secret: String,
    csr: String,
}

/// Hands out the launch secret, once a boot.
pub(super) async fn launch_secret(State(guest): ThisGuest) -> Result<Json<Value>, Problem> {
    let _spent = guest.budget.admit(Instant::now())?;
    let fleet_cas = guest.fleet_cas().await?;
    match guest
        .supervisor
        .ask(&SupervisorRequest::TakeLaunchSecret)
        .await?
    {
        SupervisorReply::LaunchSecret(secret) => Ok(Json(json!({
            "secret": B64.encode(secret),
            "guest": guest.identity.to_string(),
            "fleet_ca": B64.encode(pinned(&guest, &fleet_cas)),
            "fleet_cas": fleet_cas,
        }))),
        _ => Err(Problem::new(
            StatusCode::GONE,
            "launch-secret-taken",
            "the launch secret of this boot was handed out already; reboot the guest to enrol anew",
        )),
    }
}

/// Certifies the guest's key if it comes with the launch secret.
pub(super) async fn enroll(
    State(guest): ThisGuest,
    request: Result<Json<EnrollRequest>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    // Enrolling spends from the same budget as attesting: guessing is no cheaper than asking.
    let _spent = guest.budget.admit(Instant::now())?;
    let Json(request) = request?;
    let secret = decode("secret", &request.secret, 32)?;
    let secret: [u8; 32] = secret
        .try_into()
        .map_err(|_| Problem::malformed("`secret` has 32 bytes"))?;
    let csr = decode("csr", &request.csr, MAX_CSR)?;
    let certify = CardRequest::CertifyGuestKey {
        csr,
        guest: guest.identity,
        launch_measurement: guest.launch_measurement.clone(),
    };
    let CardReply::Chain(chain) = guest.card.ask(&certify).await? else {
        return Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "host-internal",
            "the card answered something else",
        ));
    };
    let fleet_cas = guest.fleet_cas().await?;
    // The chain leaves the host only if the supervisor, which holds the secret, agrees.
    let enrollment = Enrollment::new(chain);
    let keep = SupervisorRequest::Enroll {
        secret,
        enrollment: enrollment.clone(),
    };
    match guest.supervisor.ask(&keep).await? {
        SupervisorReply::Done => {}
        SupervisorReply::Refused(why) => {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "enrolment-refused",
                why,
            ));
        }
        _ => {
            return Err(Problem::new(
                StatusCode::BAD_GATEWAY,
                "host-internal",
                "the supervisor answered something else",
            ));
        }
    }
    guest.enrolled(&enrollment)?;
    tracing::info!(guest = %guest.identity, "guest key enrolled");
    Ok(certified(&guest, &enrollment.chain, &fleet_cas))
}

/// What a guest is told of its certified key.
pub(super) fn certified(guest: &Guest, chain: &Chain, fleet_cas: &Lineage) -> Json<Value> {
    let chain = chain.iter().map(|certificate| B64.encode(&**certificate));
    Json(json!({
        "chain": chain.collect::<Vec<_>>(),
        "fleet_ca": B64.encode(pinned(guest, fleet_cas)),
        "fleet_cas": fleet_cas,
        "guest": guest.identity.to_string(),
    }))
}

/// The CA that the guest was launched to trust. Where the host does not know it any more, the present one, which the guest refuses.
fn pinned(guest: &Guest, fleet_cas: &Lineage) -> Vec<u8> {
    // The guest compares it with its anchor: whether it is trusted here any more is no matter.
    let told = fleet_cas.named(&guest.record.fleet_ca_sha256);
    let pinned = told.map(<[u8]>::to_vec).or_else(|| guest.pinned());
    pinned.unwrap_or_else(|| fleet_cas.present.to_vec())
}

fn decode(name: &str, text: &str, longest: usize) -> Result<Vec<u8>, Problem> {
    match B64.decode(text) {
        Ok(bytes) if bytes.len() <= longest => Ok(bytes),
        Ok(_) => Err(Problem::malformed(format!(
            "`{name}` is longer than {longest} bytes"
        ))),
        Err(error) => Err(Problem::malformed(format!(
            "`{name}` is no base64url: {error}"
        ))),
    }
}
