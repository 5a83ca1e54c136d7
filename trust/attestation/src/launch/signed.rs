//! Signing and verifying a record.

use super::{LaunchRecord, LaunchRecordError};
use crate::certificates::{FleetCa, Role, Subject, Usage, verify_chain};
use crate::cose::{MessageType, Sign, Unverified, sign1};

/// The least role of who signs records.
const SIGNERS: Role = Role::Runner;

/// A record that an operator of this fleet signed. Made by [`verify_record`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifiedRecord {
    /// The record.
    pub record: LaunchRecord,
    /// Its YAML, byte for byte as signed.
    pub yaml: String,
    /// Who signed it.
    pub operator: String,
}

/// Signs a record's YAML with an operator's key; `chain` is the operator's, leaf first.
pub fn sign_record(
    yaml: &str,
    chain: &[Vec<u8>],
    key: &impl Sign,
) -> Result<Vec<u8>, LaunchRecordError> {
    LaunchRecord::parse(yaml)?;
    Ok(sign1(
        MessageType::LaunchRecord,
        yaml.as_bytes(),
        chain,
        key,
    )?)
}

/// Verifies a signed record at a time in seconds since the Unix epoch.
///
/// The anchor that the guest will pin must be `ca`, or a CA that it leads to: a record must not lead a guest to trust
/// another fleet than the one whose operator started it.
pub fn verify_record(
    signed: &[u8],
    ca: &FleetCa,
    at_unix_s: u64,
) -> Result<VerifiedRecord, LaunchRecordError> {
    let message = Unverified::parse(signed, MessageType::LaunchRecord)?;
    let signer = verify_chain(message.chain(), ca, at_unix_s, Usage::Operator)?;
    let Subject::Operator { name, role } = signer.subject else {
        return Err(LaunchRecordError::NotAnOperator);
    };
    if !role.includes(SIGNERS) {
        return Err(LaunchRecordError::Role { name, role });
    }
    let yaml = String::from_utf8(message.verify(&signer.public_key)?)
        .map_err(|_| LaunchRecordError::NotText)?;
    let record = LaunchRecord::parse(&yaml)?;
    if ca.named(&record.fleet_ca_sha256, at_unix_s).is_none() {
        let anchor = hex::encode(ca.sha256());
        let named = record.fleet_ca_sha256;
        return Err(LaunchRecordError::ForeignAnchor { named, anchor });
    }
    Ok(VerifiedRecord {
        record,
        yaml,
        operator: name,
    })
}
