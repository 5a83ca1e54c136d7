//! The certificate of a guest's key, verified up to the fleet CA.

use bartizan_attestation::certificates::{ChainError, FleetCa, Subject, Usage, verify_chain};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::identity::GuestIdentity;

/// What a guest's certificate chain proves.
pub(crate) struct GuestCertificate {
    /// Whom it is for.
    pub(crate) guest: GuestIdentity,
    /// The certified key.
    pub(crate) key: PublicKey,
    /// When it is valid.
    pub(crate) validity: Validity,
    /// The chain (DER), leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
}

/// When a certificate is valid, in seconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// Its first second.
    pub not_before: u64,
    /// Its last second.
    pub not_after: u64,
}

impl GuestCertificate {
    /// Verifies a chain (DER, leaf first) as of `now_s`, seconds since the Unix epoch.
    pub(crate) fn verify(
        chain: Vec<Vec<u8>>,
        fleet_ca: &FleetCa,
        now_s: u64,
    ) -> Result<Self, ChainError> {
        let usage = Usage::GuestKey;
        let verified = verify_chain(&chain, fleet_ca, now_s, usage)?;
        let Subject::Guest(guest) = verified.subject else {
            let subject = Box::new(verified.subject);
            return Err(ChainError::WrongSubject { usage, subject });
        };
        Ok(Self {
            guest,
            key: verified.public_key,
            validity: Validity {
                not_before: verified.not_before,
                not_after: verified.not_after,
            },
            chain,
        })
    }
}

impl Validity {
    /// From when on a key with this certificate is due to be renewed: half of its life.
    #[must_use]
    pub const fn half_life(self) -> u64 {
        let life = self.not_after.saturating_sub(self.not_before);
        self.not_before.saturating_add(life / 2)
    }
}
