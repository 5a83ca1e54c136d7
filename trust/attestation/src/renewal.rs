//! Renewal of a guest's key: within one boot, by whoever has the key that is enrolled, a new key takes its place.
//!
//! The request is a COSE_Sign1 by the enrolled key; its payload names the certificate to be replaced and carries the
//! new key's certification request, which proves possession of that one. Identity, boot and launch measurement stay.
//!
//! ```text
//!            renewed                    renewed
//!   key 1 ─────────────► key 2 ─────────────────────► key 3
//!      └ signs on for [`OVERLAP_MS`]       └ no sooner than the overlap is over
//! ```
//!
//! | attack | answer |
//! |---|---|
//! | a request by another key, another guest's among them | only the enrolled key's signature counts |
//! | a request of before, sent again, to bring an old key back | it names a certificate that is not enrolled any more |
//! | a measurement request passed off as this one | the message type is protected |
//! | certifying without end | one renewal an overlap |
//! | an expired key, found later | it renews nothing |
//!
//! Whose answer was lost asks the same again, and is told what is enrolled: that changes nothing.

mod refusal;

pub use refusal::RenewalRefusal;

use minicbor::{Decode, Encode};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cbor;
use crate::certificates::read_public_key;
use crate::cose::{MessageType, PublicKey, Unverified};
use crate::csr;
use crate::digest::sha256;
use crate::host::Enrollment;

/// How long a key that was replaced signs on, in milliseconds: longer than any request can be under way.
pub const OVERLAP_MS: u64 = 120_000;

/// What a guest asks for. Signed by the key that is to be replaced.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RenewalRequest {
    /// Always [`RenewalRequest::VERSION`].
    #[n(0)]
    pub version: u32,
    /// SHA-256 of the certificate (DER) that is to be replaced.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub replaces: [u8; 32],
    /// The new key's certification request (PKCS #10, DER), at most [`csr::MAX_CSR`] bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub csr: Vec<u8>,
}

/// What an authentic request comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// This key is to be certified and to take the enrolled one's place.
    Due {
        /// The new key, proven to be possessed.
        key: PublicKey,
        /// Its certification request.
        csr: Vec<u8>,
    },
    /// It was done already: the new key is the enrolled one.
    Done,
}

/// What a certificate says of the key that it is for. Nothing of it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertifiedKey {
    /// The key.
    pub key: PublicKey,
    /// SHA-256 of the certificate's DER.
    pub certificate: [u8; 32],
    /// Last second of its validity, since the Unix epoch.
    pub not_after: u64,
}

impl RenewalRequest {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
    /// Largest encoded request in bytes.
    pub const MAX_LEN: usize = csr::MAX_CSR + 64;

    /// A request to replace the certificate `leaf` (DER).
    #[must_use]
    pub fn new(leaf: &[u8], csr: Vec<u8>) -> Self {
        Self {
            version: Self::VERSION,
            replaces: sha256(leaf),
            csr,
        }
    }

    /// Reads a request; its certification request is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, RenewalRefusal> {
        if bytes.len() > Self::MAX_LEN {
            return Err(RenewalRefusal::TooLarge {
                size: bytes.len() as u64,
                limit: Self::MAX_LEN as u64,
            });
        }
        let request: Self = cbor::decode_strict(bytes)
            .map_err(|error| RenewalRefusal::Malformed(error.to_string()))?;
        if request.version == Self::VERSION {
            Ok(request)
        } else {
            Err(RenewalRefusal::Version(request.version))
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}

impl CertifiedKey {
    /// Reads a certificate (DER); `None` where it is none.
    #[must_use]
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let ([], parsed) = X509Certificate::from_der(certificate).ok()? else {
            return None;
        };
        let tbs = &parsed.tbs_certificate;
        Some(Self {
            key: read_public_key(&tbs.subject_pki)?,
            certificate: sha256(certificate),
            not_after: u64::try_from(tbs.validity.not_after.timestamp()).ok()?,
        })
    }

    fn enrolled(chain: &crate::keys::Chain) -> Result<Self, RenewalRefusal> {
        chain
            .first()
            .and_then(|leaf| Self::read(leaf))
            .ok_or(RenewalRefusal::EnrolledUnreadable)
    }
}

/// Judges a signed request (COSE_Sign1) against what a guest has enrolled. `now_ms`: milliseconds since the Unix epoch.
pub fn judge(
    signed: &[u8],
    enrollment: &Enrollment,
    now_ms: u64,
) -> Result<Renewal, RenewalRefusal> {
    let message = Unverified::parse(signed, MessageType::RenewalRequest)
        .map_err(|error| RenewalRefusal::Malformed(error.to_string()))?;
    let current = CertifiedKey::enrolled(&enrollment.chain)?;
    let former = match &enrollment.superseded {
        Some(superseded) => Some((CertifiedKey::enrolled(&superseded.chain)?, superseded)),
        None => None,
    };
    if let Ok(payload) = message.clone().verify(&current.key) {
        let request = RenewalRequest::decode(&payload)?;
        if request.replaces != current.certificate {
            return Err(RenewalRefusal::Superseded);
        }
        if now_ms / 1000 > current.not_after {
            return Err(RenewalRefusal::Expired);
        }
        let key = possessed(&request.csr)?;
        let known = former.as_ref().is_some_and(|(former, _)| former.key == key);
        if known || key == current.key {
            return Err(RenewalRefusal::KeyNotFresh);
        }
        if let Some((_, superseded)) = former
            && now_ms < superseded.valid_until_ms
        {
            let retry_after_ms = superseded.valid_until_ms - now_ms;
            return Err(RenewalRefusal::Busy { retry_after_ms });
        }
        let csr = request.csr;
        return Ok(Renewal::Due { key, csr });
    }
    let (former, _) = former.ok_or(RenewalRefusal::WrongSigner)?;
    let payload = message
        .verify(&former.key)
        .map_err(|_| RenewalRefusal::WrongSigner)?;
    let request = RenewalRequest::decode(&payload)?;
    if request.replaces == former.certificate && possessed(&request.csr)? == current.key {
        Ok(Renewal::Done)
    } else {
        Err(RenewalRefusal::Superseded)
    }
}

fn possessed(request: &[u8]) -> Result<PublicKey, RenewalRefusal> {
    csr::verify(request).map_err(|error| RenewalRefusal::Csr(error.to_string()))
}

#[cfg(test)]
mod tests;
