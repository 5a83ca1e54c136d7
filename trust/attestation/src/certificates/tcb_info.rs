//! The TcbInfo extension (TCG DICE Attestation Architecture 1.1 section 6.1.1).
//!
//! ```text
//! DiceTcbInfo ::= SEQUENCE {
//!     vendor [0] IMPLICIT UTF8String,             -- "Bartizan"
//!     fwids  [6] IMPLICIT SEQUENCE OF SEQUENCE {  -- report and guest keys only, exactly one
//!         hashAlg OBJECT IDENTIFIER,              -- id-sha384
//!         digest  OCTET STRING },                 -- the guest's launch measurement
//!     type   [9] IMPLICIT OCTET STRING,           -- the vault's back end
//!     integrityRegisters [11] IMPLICIT SEQUENCE OF SEQUENCE {  -- what a card issued after a measured boot, one a phase
//!         registerName    [0] IMPLICIT IA5String, -- the phase's name
//!         registerNum     [1] IMPLICIT INTEGER,   -- its number
//!         registerDigests [2] IMPLICIT SEQUENCE OF SEQUENCE { id-sha384, OCTET STRING } } }
//! ```
//!
//! The digest of a phase is the measurement register's value at its end ([`crate::boot::Register`]).
//!
//! The extension is not critical. Other members of the standard's structure are refused.

use crate::boot::{Phase, Sha384};
use crate::keys::VaultKind;
use crate::measurement::{Digest, HashAlgorithm};

/// `tcg-dice-TcbInfo`, as arcs.
pub const OID: &[u64] = &[2, 23, 133, 5, 4, 1];

const VENDOR: &[u8] = b"Bartizan";
/// `id-sha384` (2.16.840.1.101.3.4.2.2), DER contents.
const ID_SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const VENDOR_TAG: u8 = 0x80;
const FWIDS_TAG: u8 = 0xa6;
const TYPE_TAG: u8 = 0x89;
const REGISTERS_TAG: u8 = 0xab;
const REGISTER_NAME_TAG: u8 = 0x80;
const REGISTER_NUM_TAG: u8 = 0x81;
const REGISTER_DIGESTS_TAG: u8 = 0xa2;

/// What the extension says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcbInfo {
    /// Which back end holds the issuing key.
    pub vault: VaultKind,
    /// The guest's launch measurement, SHA-384.
    pub launch_measurement: Option<Digest>,
    /// The measurement register at the end of each phase of the issuing host's boot, the first phase's first; empty where the
    /// boot was not measured, and where no card issued the certificate.
    pub phases: Vec<Sha384>,
}

/// What the extension cannot say, or bytes that are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TcbInfoError {
    /// A launch measurement that is no SHA-384 digest.
    #[error("a launch measurement has 48 bytes (SHA-384), not {0}")]
    LaunchMeasurement(usize),
    /// More phases than a boot has.
    #[error("a boot has five phases, not {0}")]
    Phases(usize),
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
            members.extend(tlv(FWIDS_TAG, &[&fwid(digest)]));
        }
        members.extend(tlv(TYPE_TAG, &[self.vault.name().as_bytes()]));
        if self.phases.len() > Phase::ALL.len() {
            return Err(TcbInfoError::Phases(self.phases.len()));
        }
        if !self.phases.is_empty() {
            let registers = Phase::ALL.into_iter().zip(&self.phases).map(register);
            members.extend(tlv(
                REGISTERS_TAG,
                &[&registers.collect::<Vec<_>>().concat()],
            ));
        }
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
        let (kind, rest) = take(TYPE_TAG, rest).ok_or(malformed)?;
        let phases = match rest {
            [] => Vec::new(),
            registers => decode_registers(registers).ok_or(malformed)?,
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
            phases,
        })
    }
}

fn register((phase, digest): (Phase, &Sha384)) -> Vec<u8> {
    let members = [
        tlv(REGISTER_NAME_TAG, &[phase.name().as_bytes()]),
        tlv(REGISTER_NUM_TAG, &[&[phase.number()]]),
        tlv(REGISTER_DIGESTS_TAG, &[&fwid(&digest.0)]),
    ];
    tlv(SEQUENCE, &[&members.concat()])
}

/// One or more registers, of the phases in their order, and nothing after them.
fn decode_registers(der: &[u8]) -> Option<Vec<Sha384>> {
    let (mut rest, []) = take(REGISTERS_TAG, der)? else {
        return None;
    };
    let mut phases = Vec::new();
    for phase in Phase::ALL {
        if rest.is_empty() {
            break;
        }
        let (members, after) = take(SEQUENCE, rest)?;
        let (name, members) = take(REGISTER_NAME_TAG, members)?;
        let (number, members) = take(REGISTER_NUM_TAG, members)?;
        let (digests, []) = take(REGISTER_DIGESTS_TAG, members)? else {
            return None;
        };
        if name != phase.name().as_bytes() || number != [phase.number()] {
            return None;
        }
        let Digest(digest) = decode_fwids(digests)?;
        phases.push(Sha384(digest.try_into().ok()?));
        rest = after;
    }
    (rest.is_empty() && !phases.is_empty()).then_some(phases)
}

fn fwid(digest: &[u8]) -> Vec<u8> {
    let algorithm = tlv(OBJECT_IDENTIFIER, &[ID_SHA384]);
    tlv(SEQUENCE, &[&algorithm, &tlv(OCTET_STRING, &[digest])])
}

fn decode_fwids(fwids: &[u8]) -> Option<Digest> {
    let (fwid, []) = take(SEQUENCE, fwids)? else {
        return None;
    };
    let (algorithm, rest) = take(OBJECT_IDENTIFIER, fwid)?;
    let (digest, []) = take(OCTET_STRING, rest)? else {
        return None;
    };
    let fits = algorithm == ID_SHA384 && digest.len() == HashAlgorithm::Sha384.digest_len();
    fits.then(|| Digest(digest.to_vec()))
}

/// Takes an element of up to 65,535 bytes, its length in the one form that DER allows (X.690 section 10.1).
fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&[length], rest) = rest.split_first_chunk()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let shortest = match first {
        0x81 => length >= 0x80,
        0x82 => length >= 0x100,
        _ => true,
    };
    (found == tag && shortest).then(|| rest.split_at_checked(length))?
}

/// INVARIANT: contents are at most 600 bytes (five registers of less than 100, the launch measurement, two names).
fn tlv(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = u16::try_from(contents.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let head: &[u8] = match length {
        [0, low @ 0..=0x7f] => &[tag, low],
        [0, low] => &[tag, 0x81, low],
        [high, low] => &[tag, 0x82, high, low],
    };
    [head, &contents].concat()
}

#[cfg(test)]
mod tests;
