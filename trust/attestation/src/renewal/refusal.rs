//! Why a renewal was refused. Each has its own problem type in the guest API (RFC 9457).

use minicbor::{Decode, Encode};

/// A typed refusal; what was enrolled is enrolled still.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum RenewalRefusal {
    /// It is no well-formed signed request.
    #[n(0)]
    #[error("the renewal request is malformed: {0}")]
    Malformed(#[n(0)] String),
    /// It is larger than any request needs to be.
    #[n(1)]
    #[error("a renewal request of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        #[n(0)]
        size: u64,
        /// The limit in bytes.
        #[n(1)]
        limit: u64,
    },
    /// It speaks another version.
    #[n(2)]
    #[error("version {0} of the renewal request is not known; version 1 is")]
    Version(#[n(0)] u32),
    /// There is nothing to renew.
    #[n(3)]
    #[error("this guest has not enrolled a key since it booted; run `bartizan-guest enroll`")]
    NotEnrolled,
    /// The signature is not by the key that this guest has enrolled.
    #[n(4)]
    #[error("the renewal request is not signed by this guest's enrolled key")]
    WrongSigner,
    /// It would replace a certificate that is not enrolled any more: a replay, or the loser of two.
    #[n(5)]
    #[error(
        "the certificate to be replaced is not the enrolled one any more; renew from the newest"
    )]
    Superseded,
    /// The enrolled key's certificate has expired.
    #[n(6)]
    #[error("the enrolled key has expired and renews nothing; reboot the guest to enrol anew")]
    Expired,
    /// The certification request is refused.
    #[n(7)]
    #[error("the new key: {0}")]
    Csr(#[n(0)] String),
    /// The new key is not new.
    #[n(8)]
    #[error("the new key is enrolled already or was; make a fresh one")]
    KeyNotFresh,
    /// The former key is still in its overlap.
    #[n(9)]
    #[error("the key was renewed just now; renew again after {retry_after_ms} ms")]
    Busy {
        /// When to try again, in milliseconds.
        #[n(0)]
        retry_after_ms: u64,
    },
    /// The certificate made for the renewal is for another key than was asked for.
    #[n(10)]
    #[error("the card certified another key than the one asked for")]
    OtherKey,
    /// What is enrolled is no certificate.
    #[n(11)]
    #[error("the enrolled certificate cannot be read; reboot the guest to enrol anew")]
    EnrolledUnreadable,
}
