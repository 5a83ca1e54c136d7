//! Verifying an attestation result: what a guest or relying party does with a token.

use super::claims::{ClaimsError, EarClaims};
use super::jws::{Parts, TokenShapeError};
use crate::appraisal::{Finding, Status};
use crate::certificates::{ChainError, FleetCa, Usage, verify_chain};
use crate::digest::sha256;
use crate::identity::GuestIdentity;

/// How far a verifier's clock may be ahead, in seconds.
pub const CLOCK_LEEWAY_S: u64 = 60;

/// What a token must say to be of use: what its reader knows from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation<'a> {
    /// Who reads the token.
    pub audience: &'a str,
    /// The application that was to be attested.
    pub application: &'a str,
    /// The guest that was to be attested.
    pub guest: GuestIdentity,
    /// The nonce that the guest chose.
    pub guest_nonce: [u8; 32],
    /// SHA-256 of the signed request.
    pub request_digest: [u8; 32],
    /// RFC 7638 thumbprint of the guest's key.
    pub key_thumbprint: [u8; 32],
    /// Now, in seconds since the Unix epoch.
    pub now_s: u64,
}

/// A token that was verified: signed by the fleet's verifier, for this reader, guest, key, nonce and request, now.
/// It may still say that the guest is not to be trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttestationResult(EarClaims);

/// A verified token that affirms the guest's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Affirmed(EarClaims);

/// How many findings an error's message says; a process that is another program has dozens.
const SAID: usize = 3;

/// The token is genuine, but does not affirm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the verifier does not affirm this application ({status:?}): {}",
    reason(findings)
)]
pub struct NotAffirmedError {
    /// What it says instead.
    pub status: Status,
    /// Why.
    pub findings: Vec<Finding>,
}

/// A token was refused; nothing of it may be believed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is no signed token of this kind; `alg: none` included.
    #[error("not an attestation result: {0}")]
    Shape(#[from] TokenShapeError),
    /// Its header names a certificate that is not among those given.
    #[error(
        "the token was signed with a certificate that the verifier does not publish; fetch its token certificates anew"
    )]
    UnknownCertificate,
    /// The certificate does not lead to the fleet CA, or is not for tokens.
    #[error("the token's signing certificate was refused: {0}")]
    Certificate(#[from] ChainError),
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// The claims are malformed.
    #[error("the token's claims are refused: {0}")]
    Claims(#[from] ClaimsError),
    /// It is for somebody else.
    #[error("the token is for `{found}`, not for this reader")]
    OtherAudience {
        /// For whom it is.
        found: String,
    },
    /// It is about another application.
    #[error("the token is about the application `{found}`")]
    OtherApplication {
        /// About which.
        found: String,
    },
    /// It is about another guest.
    #[error("the token is about {found}")]
    OtherGuest {
        /// About which.
        found: GuestIdentity,
    },
    /// It answers another nonce.
    #[error("the token does not answer this nonce; it is replayed or belongs to another request")]
    OtherNonce,
    /// It answers another request.
    #[error("the token does not answer this request")]
    OtherRequest,
    /// It is bound to another key.
    #[error("the token is bound to another guest key")]
    OtherKey,
    /// It is too old.
    #[error("the token expired {ago_s} s ago; attest again")]
    Expired {
        /// How long ago, in seconds.
        ago_s: u64,
    },
    /// It is of the future.
    #[error("the token is valid only in {ahead_s} s; compare the clocks")]
    NotYetValid {
        /// How far ahead, in seconds.
        ahead_s: u64,
    },
}

/// Verifies a token against what its reader expects.
///
/// `token_certificates`: the chains of the verifier's token keys (DER, leaf first, without the fleet CA), as
/// published; they need no trust, the pinned fleet CA does.
pub fn verify_token(
    token: &str,
    token_certificates: &[Vec<Vec<u8>>],
    ca: &FleetCa,
    expectation: &Expectation<'_>,
) -> Result<AttestationResult, TokenError> {
    let parts = Parts::parse(token)?;
    let chain = token_certificates
        .iter()
        .find(|chain| {
            chain
                .first()
                .is_some_and(|leaf| sha256(leaf) == parts.header.certificate)
        })
        .ok_or(TokenError::UnknownCertificate)?;
    let signer = verify_chain(chain, ca, expectation.now_s, Usage::Token)?;
    signer
        .public_key
        .verify(parts.signed, &parts.signature)
        .map_err(|_| TokenError::Signature)?;
    let claims = EarClaims::from_json(&parts.claims)?;
    compare(&claims, expectation)?;
    Ok(AttestationResult(claims))
}

impl AttestationResult {
    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &EarClaims {
        &self.0
    }

    /// The verdict.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.0.submods.memory.ear_status
    }

    /// The proof that the verdict is affirming, or why it is not.
    pub fn into_affirmed(self) -> Result<Affirmed, NotAffirmedError> {
        match self.status() {
            Status::Affirming => Ok(Affirmed(self.0)),
            status => Err(NotAffirmedError {
                status,
                findings: self.0.submods.memory.ear_verifier_claims.findings,
            }),
        }
    }
}

impl Affirmed {
    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &EarClaims {
        &self.0
    }
}

fn compare(claims: &EarClaims, expected: &Expectation<'_>) -> Result<(), TokenError> {
    if claims.aud != expected.audience {
        return Err(TokenError::OtherAudience {
            found: crate::appraisal::quoted(&claims.aud),
        });
    }
    if claims.bartizan_application != expected.application {
        let found = crate::appraisal::quoted(&claims.bartizan_application);
        return Err(TokenError::OtherApplication { found });
    }
    if claims.sub != expected.guest {
        return Err(TokenError::OtherGuest { found: claims.sub });
    }
    if claims.eat_nonce != expected.guest_nonce {
        return Err(TokenError::OtherNonce);
    }
    if claims.bartizan_request != expected.request_digest {
        return Err(TokenError::OtherRequest);
    }
    if claims.cnf.jkt != expected.key_thumbprint {
        return Err(TokenError::OtherKey);
    }
    if expected.now_s >= claims.exp {
        return Err(TokenError::Expired {
            ago_s: expected.now_s - claims.exp,
        });
    }
    match claims.nbf.saturating_sub(expected.now_s) {
        0..=CLOCK_LEEWAY_S => Ok(()),
        ahead_s => Err(TokenError::NotYetValid { ahead_s }),
    }
}

fn reason(findings: &[Finding]) -> String {
    let mut reasons: Vec<_> = findings
        .iter()
        .take(SAID)
        .map(ToString::to_string)
        .collect();
    if let Some(more @ 1..) = findings.len().checked_sub(SAID) {
        reasons.push(format!("and {more} more"));
    }
    reasons.join("; ")
}
