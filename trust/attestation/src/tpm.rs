//! What a TPM 2.0 shows of itself, and how a verifier has it prove that.
//!
//! ```text
//!  maker's CA ─certifies─► endorsement key (EK) ◄─ in one TPM with ─► the card's identity key, the attestation key
//!                               │                                            ▲
//!                               └── a secret, encrypted to the EK for an object's name: only that TPM decrypts it
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | a key made in software, said to be a TPM's | its TPM does not exist, so that nobody decrypts the secret ([`make_credential`]) |
//! | a key of another TPM | the secret is bound to the EK's TPM *and* to the object's name |
//! | a TPM's key that can leave it, or signs whatever is asked | the name covers the attributes, which [`PublicArea`] checks |
//! | an EK that nobody vouches for | its certificate is verified under configured makers ([`EndorsementCertificate`]) |
//! | the certificate of one EK with another EK | the keys are compared |
//! | a quote of another boot, or made for another connection | it is signed over a nonce of this one's ([`verify_quote`]) |
//! | a later identity key in software, or in another TPM | the attestation key, known from enrolment, certifies the key's name ([`verify_certified`]) |
//!
//! Structures: TPM 2.0 Library part 2 (revision 1.59), big-endian. Everything here is foreign bytes.

mod attest;
mod certify;
mod credential;
mod endorsement;
mod public_area;
mod quote;
mod reader;

pub use certify::{CertifyError, verify_certified};
pub use credential::{Credential, CredentialError, SECRET_LEN, make_credential};
pub use endorsement::{EndorsementCertificate, EndorsementError, Makers, MakersError};
pub use public_area::{AsymmetricKey, PublicArea, PublicAreaError};
pub use quote::{QuoteError, verify_quote};

#[cfg(test)]
mod tests;
