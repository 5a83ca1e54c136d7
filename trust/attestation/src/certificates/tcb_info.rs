//! The TcbInfo extension (TCG DICE Attestation Architecture 1.1 section 6.1.1).
//!
//! ```text
//! DiceTcbInfo ::= SEQUENCE {
//!     vendor [0] IMPLICIT UTF8String,             -- "Bartizan"
//!     fwids  [6] IMPLICIT SEQUENCE OF SEQUENCE {  -- report and guest keys only, exactly one
//!         hashAlg OBJECT IDENTIFIER,              -- id-sha384
//!         digest  OCTET STRING },                 -- the guest's launch measurement
//!     type   [9] IMPLICIT OCTET STRING }          -- the vault's back end
//! ```
//!
//! The extension is not critical. Other members of the standard's structure are refused.

use crate::keys::VaultKind;
use crate::measurement::{Digest, HashAlgorithm};

/// `tcg-dice-TcbInfo`, as arcs.
pub const OID: &[u64] = &[2, 23, 133, 5, 4, 1];

const VENDOR: &[u8] = b"Bartizan";
/// `id-sha384` (2.16.840.1.101.3.4.2.2), DER contents.
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const VENDOR_TAG: u8 = 0x80;
const FWIDS_TAG: u8 = 0xa6;
const TYPE_TAG: u8 = 0x89;

/// What the extension says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcbInfo {
    /// Which back end holds the issuing key.
    pub vault: VaultKind,
    /// The guest's launch measurement, SHA-384.
    pub launch_measurement: Option<Digest>,
}

/// What the extension cannot say, or bytes that are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TcbInfoError {
    /// A launch measurement that is no SHA-384 digest.
    #[error("a launch measurement has 48 bytes (SHA-384), not {0}")]
    LaunchMeasurement(usize),
    /// Not the extension as this module writes it.
    #[error("the TcbInfo extension is not of the form of vendor \"Bartizan\"")]
    Malformed,
    /// A vault back end that this software does not know.
    #[error("the TcbInfo extension names an unknown kind of vault")]
    UnknownVault,
}

impl TcbInfo {
    /// The extension's value, DER.
    pub fn encode(&self) -> Result<Vec<u8>, TcbInfoError> {
        let mut members = tlv(VENDOR_TAG, &[VENDOR]);
        if let Some(Digest(digest)) = &self.launch_measurement {
            if digest.len() != HashAlgorithm::Sha384.digest_len() {
                return Err(TcbInfoError::LaunchMeasurement(digest.len()));
            }
            let fwid = tlv(
                SEQUENCE,
                &[
                    &tlv(OBJECT_IDENTIFIER, &[SHA384]),
                    &tlv(OCTET_STRING, &[digest]),
                ],
            );
            members.extend(tlv(FWIDS_TAG, &[&fwid]));
        }
        members.extend(tlv(TYPE_TAG, &[self.vault.name().as_bytes()]));
        Ok(tlv(SEQUENCE, &[&members]))
    }

    /// Reads the extension's value, DER.
    pub fn decode(der: &[u8]) -> Result<Self, TcbInfoError> {
        let malformed = TcbInfoError::Malformed;
        let (mut rest, []) = take(SEQUENCE, der).ok_or(malformed)? else {
            return Err(malformed);
        };
        let (vendor, after) = take(VENDOR_TAG, rest).ok_or(malformed)?;
        rest = after;
        let mut launch_measurement = None;
        if let Some((fwids, after)) = take(FWIDS_TAG, rest) {
            launch_measurement = Some(decode_fwids(fwids).ok_or(malformed)?);
            rest = after;
        }
        let (kind, []) = take(TYPE_TAG, rest).ok_or(malformed)? else {
            return Err(malformed);
        };
        if vendor != VENDOR {
            return Err(malformed);
        }
        let vault = VaultKind::ALL
            .into_iter()
            .find(|vault| vault.name().as_bytes() == kind)
            .ok_or(TcbInfoError::UnknownVault)?;
        Ok(Self {
            vault,
            launch_measurement,
        })
    }
}

fn decode_fwids(fwids: &[u8]) -> Option<Digest> {
    let (fwid, []) = take(SEQUENCE, fwids)? else {
        return None;
    };
    let (algorithm, rest) = take(OBJECT_IDENTIFIER, fwid)?;
    let (digest, []) = take(OCTET_STRING, rest)? else {
        return None;
    };
    let fits = algorithm == SHA384 && digest.len() == HashAlgorithm::Sha384.digest_len();
    fits.then(|| Digest(digest.to_vec()))
}

/// Takes an element of up to 127 bytes, the longest that occur here (X.690 section 8.1.3.4).
fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    (found == tag && length < 0x80).then(|| rest.split_at_checked(length.into()))?
}

/// INVARIANT: contents are at most 89 bytes (vendor 10, fwids 65, type 2 and a name), so that the
/// short form of the length is right.
fn tlv(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    debug_assert!(length < 0x80, "vault names are short");
    [&[tag, length][..], &contents].concat()
}

#[cfg(test)]
mod tests;
