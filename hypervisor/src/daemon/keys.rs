//! The keys that a guest may sign with.

use bartizan_attestation::certificates::{ChainError, FleetCa, Usage, verify_chain};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::host::Enrollment;
use bartizan_attestation::keys::Chain;

/// A guest's key.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its certificate chain.
    pub chain: Chain,
    /// The key.
    pub key: PublicKey,
}

/// What a guest has enrolled, its certificates verified.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) enrollment: Enrollment,
    current: Enrolled,
    /// The one that it replaced, and until when that signs on: milliseconds since the Unix epoch.
    former: Option<(Enrolled, u64)>,
}

impl Keys {
    pub(super) fn verify(
        enrollment: &Enrollment,
        fleet_ca: &FleetCa,
        now_s: u64,
    ) -> Result<Self, ChainError> {
        let former = enrollment.superseded.as_ref().and_then(|superseded| {
            // It may have expired since, and is of no use then.
            let former = verified(&superseded.chain, fleet_ca, now_s).ok()?;
            Some((former, superseded.valid_until_ms))
        });
        Ok(Self {
            current: verified(&enrollment.chain, fleet_ca, now_s)?,
            enrollment: enrollment.clone(),
            former,
        })
    }

    /// Those whose signature counts now.
    pub(super) fn valid(&self, now_ms: u64) -> Vec<Enrolled> {
        let former = self.former.as_ref().filter(|(_, until)| now_ms < *until);
        [Some(&self.current), former.map(|(former, _)| former)]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Whether `other` is what a renewal replaced by this.
    pub(super) fn supersedes(&self, other: &Enrollment) -> bool {
        let superseded = self.enrollment.superseded.as_ref();
        superseded.is_some_and(|superseded| superseded.chain == other.chain)
    }
}

fn verified(chain: &Chain, fleet_ca: &FleetCa, now_s: u64) -> Result<Enrolled, ChainError> {
    let certificates: Vec<_> = chain
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    let verified = verify_chain(&certificates, fleet_ca, now_s, Usage::GuestKey)?;
    Ok(Enrolled {
        chain: chain.clone(),
        key: verified.public_key,
    })
}
