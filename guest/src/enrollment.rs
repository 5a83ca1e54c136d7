//! Enrolment: a fresh key, certified for this guest and boot against its launch secret.

use bartizan_attestation::certificates::{ChainError, Usage, verify_chain};
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::Deserialize;
use serde_json::json;

use crate::anchor::{Anchor, AnchorError};
use crate::attestation::unix_now;
use crate::host_api::{HostApi, HostApiError, decode};
use crate::state::Enrollment;

/// Enrolment failed; nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The host refused or is away.
    #[error(transparent)]
    Host(#[from] HostApiError),
    /// The fleet CA is not the anchored one.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate does not lead to the fleet CA, or is for something else.
    #[error("the host's certificate for this guest is not valid: {0}")]
    Chain(#[from] ChainError),
    /// The certificate is for another key or another guest.
    #[error("the host certified another key or guest than was asked for")]
    OtherSubject,
}

#[derive(Deserialize)]
struct LaunchSecret {
    secret: String,
    fleet_ca: String,
}

#[derive(Deserialize)]
struct Certified {
    chain: Vec<String>,
    guest: String,
}

/// Enrols a fresh key. Works once a boot, for the first that asks.
pub fn enroll(host: &HostApi) -> Result<Enrollment, EnrollError> {
    let anchor = Anchor::of_this_guest()?;
    let launch: LaunchSecret = host.post("/launch_secret", &json!({}))?;
    let fleet_ca = anchor.check(&decode("fleet_ca", &launch.fleet_ca)?)?;
    let key = EphemeralKey::generate()?;
    let request = json!({ "secret": launch.secret, "csr": B64.encode(key.csr()?) });
    let certified: Certified = host.post("/enroll", &request)?;
    let chain = certified
        .chain
        .iter()
        .map(|certificate| decode("chain", certificate))
        .collect::<Result<Vec<_>, _>>()?;
    let certificate = verify_chain(&chain, &fleet_ca, unix_now(), Usage::GuestKey)?;
    let guest = certified
        .guest
        .parse()
        .map_err(|_| EnrollError::OtherSubject)?;
    let expected = bartizan_attestation::certificates::Subject::Guest(guest);
    if certificate.subject != expected || certificate.public_key != key.public_key() {
        return Err(EnrollError::OtherSubject);
    }
    Ok(Enrollment::new(key, guest, fleet_ca, &chain))
}
