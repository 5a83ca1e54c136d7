//! The launch secret and the key that is enrolled with it, once a boot.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bartizan_attestation::host::Enrollment;
use bartizan_attestation::keys::Chain;
use bartizan_attestation::renewal::{self, CertifiedKey, Renewal, RenewalRefusal};
use zeroize::Zeroizing;

/// Where a boot's enrolment stands.
#[derive(Debug)]
pub struct Enrolment(State);

enum State {
    /// Nobody has the secret.
    Fresh(Zeroizing<[u8; 32]>),
    /// The guest's first process that asked has it.
    Taken(Zeroizing<[u8; 32]>),
    /// A key is enrolled: the secret is of no further use and gone.
    Enrolled(Enrollment),
}

/// An enrolment step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// The operating system has no randomness.
    #[error("no random bytes can be had")]
    NoRandomness,
    /// The secret was handed out already.
    #[error("the launch secret was taken already; it is given once a boot")]
    Taken,
    /// That is not the secret.
    #[error("that is not this boot's launch secret")]
    WrongSecret,
    /// A key is enrolled already.
    #[error("a key is enrolled already; boot the guest anew to enrol another")]
    Enrolled,
}

impl Enrolment {
    /// A new boot's, with a fresh secret.
    pub fn new() -> Result<Self, EnrolmentError> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(|_| EnrolmentError::NoRandomness)?;
        Ok(Self(State::Fresh(secret)))
    }

    /// Hands the secret out, once.
    pub fn take(&mut self) -> Result<[u8; 32], EnrolmentError> {
        let State::Fresh(secret) = &self.0 else {
            return Err(EnrolmentError::Taken);
        };
        let secret = secret.clone();
        let handed_out = *secret;
        self.0 = State::Taken(secret);
        Ok(handed_out)
    }

    /// Keeps the enrolled key, once, for whoever has the secret.
    pub fn enrol(&mut self, secret: &[u8; 32], key: Enrollment) -> Result<(), EnrolmentError> {
        match &self.0 {
            State::Enrolled(_) => Err(EnrolmentError::Enrolled),
            // A secret that nobody was given cannot be known.
            State::Fresh(_) => Err(EnrolmentError::WrongSecret),
            State::Taken(expected) => {
                verify_slices_are_equal(expected.as_slice(), secret)
                    .map_err(|_| EnrolmentError::WrongSecret)?;
                self.0 = State::Enrolled(key);
                Ok(())
            }
        }
    }

    /// Puts a renewed key, certified by `chain`, in the enrolled one's place, if the guest's signed request is right;
    /// answers what is enrolled. `now_ms`: milliseconds since the Unix epoch.
    pub fn renew(
        &mut self,
        request: &[u8],
        chain: Chain,
        now_ms: u64,
    ) -> Result<Enrollment, RenewalRefusal> {
        let State::Enrolled(enrolled) = &self.0 else {
            return Err(RenewalRefusal::NotEnrolled);
        };
        let Renewal::Due { key, .. } = renewal::judge(request, enrolled, now_ms)? else {
            return Ok(enrolled.clone());
        };
        let certified = chain.first().and_then(|leaf| CertifiedKey::read(leaf));
        if certified.is_none_or(|certified| certified.key != key) {
            return Err(RenewalRefusal::OtherKey);
        }
        let renewed = enrolled.renewed(chain, now_ms);
        self.0 = State::Enrolled(renewed.clone());
        Ok(renewed)
    }

    /// Whether nobody was given the secret.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        matches!(&self.0, State::Fresh(_))
    }

    /// The enrolled key, where there is one.
    #[must_use]
    pub const fn key(&self) -> Option<&Enrollment> {
        match &self.0 {
            State::Enrolled(key) => Some(key),
            State::Fresh(_) | State::Taken(_) => None,
        }
    }
}

/// Names the state, never the secret.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fresh(_) => "Fresh",
            Self::Taken(_) => "Taken",
            Self::Enrolled(_) => "Enrolled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Enrollment {
        Enrollment::new(vec![vec![byte].into()])
    }

    #[test]
    fn secret_is_given_once_and_enrols_once() {
        let mut enrolment = Enrolment::new().unwrap();
        let secret = enrolment.take().unwrap();
        assert_eq!(enrolment.take(), Err(EnrolmentError::Taken));
        assert_eq!(
            enrolment.enrol(&[0; 32], key(1)),
            Err(EnrolmentError::WrongSecret)
        );
        assert_eq!(enrolment.key(), None);
        enrolment.enrol(&secret, key(1)).unwrap();
        assert_eq!(
            enrolment.enrol(&secret, key(2)),
            Err(EnrolmentError::Enrolled)
        );
        assert_eq!(enrolment.take(), Err(EnrolmentError::Taken));
        assert_eq!(enrolment.key(), Some(&key(1)));
    }

    #[test]
    fn secrets_differ_and_are_not_shown() {
        let (mut one, mut other) = (Enrolment::new().unwrap(), Enrolment::new().unwrap());
        assert_eq!(format!("{one:?}"), "Enrolment(Fresh)");
        assert_ne!(one.take().unwrap(), other.take().unwrap());
    }
}
