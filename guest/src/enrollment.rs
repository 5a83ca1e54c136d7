//! Enrolment: a fresh key, certified for this guest and boot against its launch secret.

use std::thread;
use std::time::{Duration, Instant};

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

/// Longest time between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Enrols a fresh key. Works once a boot, for the first that asks.
///
/// A host that is busy or restarting is asked again for as long as `patience`: a guest has no other chance to enrol
/// before its next boot.
pub fn enroll(host: &HostApi, patience: Duration) -> Result<Enrollment, EnrollError> {
    let until = Instant::now() + patience;
    let anchor = Anchor::of_this_guest()?;
    let launch: LaunchSecret = patiently(until, || host.post("/launch_secret", &json!({})))?;
    let fleet_ca = anchor.check(&decode("fleet_ca", &launch.fleet_ca)?)?;
    let key = EphemeralKey::generate()?;
    let request = json!({ "secret": launch.secret, "csr": B64.encode(key.csr()?) });
    let certified: Certified = patiently(until, || host.post("/enroll", &request))?;
    let (certificate, anchored) = certified.check(&fleet_ca, &key, None)?;
    Ok(Enrollment::new(key, anchored, certificate))
}

/// Asks until it is answered, refused for good, or `until` has come.
fn patiently<A>(
    until: Instant,
    mut ask: impl FnMut() -> Result<A, HostApiError>,
) -> Result<A, HostApiError> {
    let mut wait = Duration::from_millis(250);
    loop {
        match ask() {
            Err(error) if error.may_pass() && Instant::now() + wait < until => {
                thread::sleep(wait);
                wait = (2 * wait).min(LONGEST_WAIT);
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::host_api::Problem;

    fn away() -> HostApiError {
        HostApiError::Unreachable(io::ErrorKind::TimedOut.into())
    }

    fn refused(status: u16) -> HostApiError {
        HostApiError::Refused(Problem {
            kind: "urn:bartizan:problem:any".into(),
            status,
            detail: String::new(),
            pid: None,
            verifier: None,
        })
    }

    /// What comes of answers in turn, and how many were asked for.
    fn asked(patience: Duration, answers: Vec<HostApiError>) -> (Result<u8, HostApiError>, usize) {
        let mut asked = 0;
        let mut answers = answers.into_iter();
        let result = patiently(Instant::now() + patience, || {
            asked += 1;
            answers.next().map_or(Ok(7), Err)
        });
        (result, asked)
    }

    #[test]
    fn a_host_that_is_busy_or_restarting_is_asked_again() {
        let (result, asked) = asked(Duration::from_secs(60), vec![away(), refused(503)]);
        assert_eq!((result.unwrap(), asked), (7, 3));
    }

    #[test]
    fn what_is_refused_for_good_is_not_asked_again() {
        for status in [403, 410, 502] {
            let (result, asked) = asked(Duration::from_secs(60), vec![refused(status)]);
            assert!(matches!(result, Err(HostApiError::Refused(_))));
            assert_eq!(asked, 1);
        }
    }

    #[test]
    fn patience_ends_with_what_stood_in_the_way() {
        let (result, asked) = asked(Duration::ZERO, vec![away()]);
        assert!(matches!(result, Err(HostApiError::Unreachable(_))));
        assert_eq!(asked, 1);
    }
}
