//! Attestation results: EAR (draft-ietf-rats-ear-04) as a JWT (RFC 7519), signed with ES256.
//!
//! The verifier builds the [`fn@claims`]; its vault checks them ([`check_claims_json`]), adds the header for
//! its own token certificate and signs ([`signing_input`], [`compact`]); guests and relying parties call
//! [`verify_token`].
//!
//! The compact serialisation (RFC 7515) is read here rather than by a JWT library: exactly one header is
//! accepted (`alg` ES256, `typ` eat+jwt, `x5t#S256`), and a general library would first have to be kept
//! from honouring the rest (`jwk`, `jku`, `x5c`, `crit`, other algorithms). What remains is small.
//!
//! | attack | answer |
//! |---|---|
//! | `alg: none`, HMAC with a public key, another curve | ES256 is the only algorithm, and the key comes from a certificate |
//! | a key of the attacker's in the header | the header only *selects* among certificates that chain to the pinned fleet CA with the token usage |
//! | a token for another audience, application, guest, key, nonce or request | each is compared, each has its own error |
//! | an old token | minutes long; `exp`, `nbf` and a bound on the lifetime |
//! | a token that names a warning but is read as success | only [`AttestationResult::into_affirmed`] yields [`Affirmed`] |

mod claims;
mod issue;
mod jws;
mod verify;

pub use claims::{
    Algorithms, AttesterClaims, Basis, BootClaims, ClaimsError, Confirmation, EarClaims,
    FirmwareClaims, InstanceClaims, MemoryAppraisal, PhaseClaims, ProcessClaims, ReferenceClaims,
    ReleaseClaims, Submods, TargetKind, TranslationClaims, TrustworthinessVector,
    UnappraisedRegion, VerifierClaims, VerifierId, check_claims_json,
};
pub use issue::{Issue, claims};
pub use jws::{Header, MAX_TOKEN, TokenShapeError, compact, signing_input};
pub use verify::{
    Affirmed, AttestationResult, CLOCK_LEEWAY_S, Expectation, NotAffirmedError, TokenError,
    verify_token,
};

/// Longest lifetime of a result in seconds.
pub const MAX_LIFETIME_S: u64 = 900;

#[cfg(test)]
mod tests;
