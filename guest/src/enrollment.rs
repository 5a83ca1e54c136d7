//! Enrolment: a fresh key, certified for this guest and boot against its launch secret.

use bartizan_attestation::certificates::{ChainError, FleetCa, Lineage, LinkedCa};
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use bartizan_attestation::identity::GuestIdentity;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::Deserialize;
use serde_json::json;

use crate::anchor::{Anchor, AnchorError};
use crate::attestation::unix_now;
use crate::certificate::GuestCertificate;
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

/// What the host says of a key that it had certified.
#[derive(Deserialize)]
pub(crate) struct Certified {
    chain: Vec<String>,
    guest: String,
    fleet_cas: Lineage,
}

impl Certified {
    /// The certificate, if it is what was asked for: of this key, for a guest of the fleet, and for `expected` where
    /// that is known. With the anchor that it was verified under.
    pub(crate) fn check(
        &self,
        fleet_ca: &FleetCa,
        key: &EphemeralKey,
        expected: Option<GuestIdentity>,
    ) -> Result<(GuestCertificate, LinkedCa), EnrollError> {
        let anchored = LinkedCa::new(fleet_ca, self.fleet_cas.clone());
        let anchored = anchored.map_err(AnchorError::from)?;
        let chain = self
            .chain
            .iter()
            .map(|certificate| decode("chain", certificate))
            .collect::<Result<Vec<_>, _>>()?;
        let certificate = GuestCertificate::verify(chain, anchored.ca(), unix_now())?;
        let claimed: GuestIdentity = self.guest.parse().map_err(|_| EnrollError::OtherSubject)?;
        if expected.is_some_and(|expected| expected != claimed)
            || certificate.guest != claimed
            || certificate.key != key.public_key()
        {
            return Err(EnrollError::OtherSubject);
        }
        Ok((certificate, anchored))
    }
}

/// Enrols a fresh key. Works once a boot, for the first that asks.
pub fn enroll(host: &HostApi) -> Result<Enrollment, EnrollError> {
    let anchor = Anchor::of_this_guest()?;
    let launch: LaunchSecret = host.post("/launch_secret", &json!({}))?;
    let fleet_ca = anchor.check(&decode("fleet_ca", &launch.fleet_ca)?)?;
    let key = EphemeralKey::generate()?;
    let request = json!({ "secret": launch.secret, "csr": B64.encode(key.csr()?) });
    let certified: Certified = host.post("/enroll", &request)?;
    let (certificate, anchored) = certified.check(&fleet_ca, &key, None)?;
    Ok(Enrollment::new(key, anchored, certificate))
}
