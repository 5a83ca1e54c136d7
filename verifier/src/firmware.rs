//! Judging what a host's own firmware measured before the launcher.
//!
//! ```text
//!  quote ─verified, its PCRs but the registers─► log replays to them ─► kept for operators ─► those of a reference in force?
//! ```
//!
//! The PCRs are the TPM's word; the log, which nobody signs, is believed where it replays to them. A reference is what an operator
//! has found to be right: of one machine of a kind, for all of that kind.

use std::sync::Arc;

use axum::http::StatusCode;
use bartizan_attestation::boot::{FirmwareLog, FirmwareLogError, Sha384};
use bartizan_attestation::identity::CardId;

use crate::clock::now_ms;
use crate::config::FirmwarePcrs;
use crate::problem::ProblemType;
use crate::service::Service;
use crate::storage::{FirmwareReference, HostFirmware, PcrValues, StorageError};
use crate::task::{TaskError, blocking};

/// What a host's firmware was compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ComparedFirmware {
    /// The PCRs that the log replays to and the TPM has quoted, in ascending order.
    pub pcrs: Vec<u8>,
    /// The reference that they are those of, if they are.
    pub reference: Option<MatchedReference>,
}

/// The reference that a host's PCRs are those of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MatchedReference {
    /// Its id.
    pub id: Sha384,
    /// Its name.
    pub name: String,
}

impl From<&FirmwareReference> for MatchedReference {
    fn from(reference: &FirmwareReference) -> Self {
        Self {
            id: reference.id,
            name: reference.name.clone(),
        }
    }
}

/// A host's firmware is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The log is none, or does not replay to the quoted PCRs.
    #[error("the host's firmware: {0}")]
    Log(#[from] FirmwareLogError),
    /// A host without a TPM can show nothing.
    #[error(
        "what the firmware measured is demanded of all hosts, and this one enrolled without a TPM, whose word it would be; enrol it with one"
    )]
    NoTpm,
    /// There is no log.
    #[error(
        "the event log of the host's firmware is demanded, and none was handed in; does /sys/kernel/security/tpm0/binary_bios_measurements exist on it?"
    )]
    NoLog,
    /// A demanded PCR is not in the quote.
    #[error(
        "PCR {0} is demanded of the host's firmware and is not in its TPM's quote; name it in `host_pcrs` or `quoted_pcrs` of its vault's configuration"
    )]
    NotQuoted(u8),
    /// There is no reference to compare with.
    #[error(
        "no reference of the demanded PCRs is in force; look at what a host shows with `bartizan host firmware`, and register it with `bartizan firmware register`"
    )]
    NoReference,
    /// No reference is met.
    #[error(
        "the host's firmware is none that is registered: PCR {pcr}: expected {expected} by `{reference}`, which it comes closest to, found {found}; see `bartizan host firmware` and `bartizan firmware list`"
    )]
    OtherFirmware {
        /// The first PCR that differs.
        pcr: u8,
        /// What the closest reference says.
        expected: Sha384,
        /// What the TPM says.
        found: Sha384,
        /// That reference's name.
        reference: String,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It was not ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl ProblemType for FirmwareError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Log(FirmwareLogError::Replay { .. } | FirmwareLogError::NoBank(_)) => {
                ("firmware-log-not-quoted", StatusCode::FORBIDDEN)
            }
            Self::Log(_) => ("firmware-log-malformed", StatusCode::UNPROCESSABLE_ENTITY),
            Self::NoTpm => ("firmware-without-tpm", StatusCode::FORBIDDEN),
            Self::NoLog => ("firmware-log-missing", StatusCode::FORBIDDEN),
            Self::NotQuoted(_) => ("firmware-pcr-not-quoted", StatusCode::FORBIDDEN),
            Self::NoReference => ("firmware-without-reference", StatusCode::FORBIDDEN),
            Self::OtherFirmware { .. } => ("firmware-unknown", StatusCode::FORBIDDEN),
            Self::Storage(error) => error.kind(),
            Self::Task(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Storage(error) => error.retry_after_s(),
            Self::Task(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// Judges what a host shows of its firmware. `quoted`: its PCRs but the registers, as its TPM has just signed; `None` without a TPM.
/// Answers `None` where nothing is demanded and nothing could be compared.
pub async fn judge(
    service: &Arc<Service>,
    card: CardId,
    quoted: Option<PcrValues>,
    log: Option<Vec<u8>>,
) -> Result<Option<ComparedFirmware>, FirmwareError> {
    let demanded = service.config.measured_boot.firmware_of(quoted.is_some());
    let Some(quoted) = quoted else {
        return match demanded {
            Some(_) => Err(FirmwareError::NoTpm),
            None => Ok(None),
        };
    };
    let Some(log) = log else {
        return match demanded {
            Some(_) => Err(FirmwareError::NoLog),
            None => Ok(None),
        };
    };
    let (log, quoted) = explained(log, quoted).await?;
    let mut lacking = demanded.into_iter().flat_map(FirmwarePcrs::numbers);
    if let Some(pcr) = lacking.find(|pcr| !quoted.contains_key(pcr)) {
        return Err(FirmwareError::NotQuoted(pcr));
    }
    if quoted.is_empty() {
        // Nothing of it is the TPM's word.
        return Ok(None);
    }
    // Also of a host that is refused: operators see what it shows.
    let shown = HostFirmware {
        pcrs: quoted,
        log,
        shown_at_ms: now_ms(),
    };
    service.storage.put_host_firmware(card, &shown).await?;
    let references = service.storage.firmware_in_force().await?;
    let matched = match (matched(&shown.pcrs, &references, demanded), demanded) {
        (Ok(reference), _) => Some(reference.into()),
        (Err(error), Some(_)) => return Err(error),
        (Err(_), None) => None,
    };
    Ok(Some(ComparedFirmware {
        pcrs: shown.pcrs.into_keys().collect(),
        reference: matched,
    }))
}

/// The reference in force that PCRs are those of, whatever is demanded.
pub async fn reference_of(
    service: &Service,
    pcrs: &PcrValues,
) -> Result<Option<MatchedReference>, StorageError> {
    let references = service.storage.firmware_in_force().await?;
    Ok(matched(pcrs, &references, None).ok().map(Into::into))
}

/// Reads the log and replays it: work for the processor, not on the threads that serve.
async fn explained(log: Vec<u8>, quoted: PcrValues) -> Result<(Vec<u8>, PcrValues), FirmwareError> {
    let work = move || {
        FirmwareLog::parse(&log)?.explains(&quoted)?;
        Ok((log, quoted))
    };
    blocking(work).await?
}

/// The reference whose every value is quoted, and which has all PCRs that are demanded; of those that are not met, the error names
/// the one that comes closest.
fn matched<'r>(
    quoted: &PcrValues,
    references: &'r [FirmwareReference],
    demanded: Option<&FirmwarePcrs>,
) -> Result<&'r FirmwareReference, FirmwareError> {
    let whole = |reference: &&FirmwareReference| {
        let mut numbers = demanded.into_iter().flat_map(FirmwarePcrs::numbers);
        numbers.all(|pcr| reference.pcrs.contains_key(&pcr))
    };
    let mut closest: Option<(usize, FirmwareError)> = None;
    for reference in references.iter().filter(whole) {
        let differ = |(pcr, expected): (&u8, &Sha384)| {
            let found = quoted.get(pcr).copied();
            (found != Some(*expected)).then_some((*pcr, *expected, found))
        };
        let mut differing = reference.pcrs.iter().filter_map(differ);
        let Some((pcr, expected, found)) = differing.next() else {
            return Ok(reference);
        };
        let count = 1 + differing.count();
        if closest.as_ref().is_none_or(|(least, _)| count < *least) {
            let error = match found {
                Some(found) => FirmwareError::OtherFirmware {
                    pcr,
                    expected,
                    found,
                    reference: reference.name.clone(),
                },
                None => FirmwareError::NotQuoted(pcr),
            };
            closest = Some((count, error));
        }
    }
    Err(closest.map_or(FirmwareError::NoReference, |(_, error)| error))
}

#[cfg(test)]
mod tests;
