//! Renewal: a fresh key takes the enrolled one's place, in the same boot and under the same identity.
//!
//! The new key is on disk before the host is asked to certify it: whoever is killed in between asks the same again.

use std::path::Path;

use bartizan_attestation::cose::{MessageType, SignError, sign1};
use bartizan_attestation::csr::KeyError;
use bartizan_attestation::renewal::RenewalRequest;

use crate::enrollment::{Certified, EnrollError};
use crate::host_api::{HostApi, HostApiError};
use crate::state::{Enrollment, Renewing, StateError};

/// The key was not renewed; the enrolled one is enrolled still.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The enrolment cannot be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The host refused or is away.
    #[error(transparent)]
    Host(#[from] HostApiError),
    /// The new key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The request could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The host's answer is not what was asked for.
    #[error(transparent)]
    Answer(#[from] EnrollError),
}

/// Renews the enrolment that is kept in `folder`, and keeps the new one there.
///
/// The former key signs on for two minutes: requests that are under way are answered.
pub fn renew(host: &HostApi, folder: &Path) -> Result<Enrollment, RenewError> {
    let renewing = Renewing::begin(folder)?;
    let (enrolled, key) = (&renewing.enrolled, &renewing.key);
    let leaf = enrolled.chain.first().map_or(&[][..], Vec::as_slice);
    let request = RenewalRequest::new(leaf, key.csr()?).encode();
    let signed = sign1(MessageType::RenewalRequest, &request, &[], &enrolled.key)?;
    let answer: Certified = host.post_cose("/renew", &signed)?;
    let pinned = enrolled.anchored.ca();
    let (certificate, anchored) = answer.check(pinned, key, Some(enrolled.guest))?;
    Ok(renewing.finish(certificate, anchored)?)
}
