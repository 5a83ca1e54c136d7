//! From bytes to a verified report.

use crate::boot::Sha384;
use crate::certificates::{ChainError, FleetCa, Subject, Usage, VerifiedCertificate, verify_chain};
use crate::cose::{CoseError, MessageType, Unverified};
use crate::digest::sha256;
use crate::identity::GuestIdentity;
use crate::keys::VaultKind;
use crate::measurement::{self, MeasurementRequest, Report, RequestError, SignedReport};

use super::consistency::{self, InconsistentReportError};

/// How far a report's time may lie from the verifier's clock, either way, in milliseconds.
pub const MAX_CLOCK_SKEW_MS: u64 = 60_000;

/// A report that was verified: signed by a measurer of this fleet, on a request signed by the very guest that
/// was measured, in time, and consistent. Only [`verify_report`] makes one.
///
/// Not part of it, since they need state: nonces, revocation, and which of a card's keys have been succeeded. The verifier checks all of them before it appraises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedReport {
    pub(super) report: Report,
    pub(super) request: MeasurementRequest,
    pub(super) page_digests: Option<Vec<u8>>,
    pub(super) request_digest: [u8; 32],
    pub(super) guest_key_thumbprint: [u8; 32],
    pub(super) vault: VaultKind,
    pub(super) phases: Vec<Sha384>,
    pub(super) card_keys: [[u8; 32]; 2],
}

/// A report was not verified; nothing of it may be believed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The report is no well-formed signed report, or its signature is wrong.
    #[error("the report is not a signed report: {0}")]
    Report(#[source] CoseError),
    /// The report's payload is malformed.
    #[error("the report's payload is malformed: {0}")]
    ReportPayload(#[source] measurement::ReportError),
    /// The report's chain does not lead to the fleet CA, or is not a measurer's.
    #[error("the report's certificate chain was refused: {0}")]
    ReportChain(#[source] ChainError),
    /// The request within is no well-formed signed request, or was not signed by the guest's key.
    #[error("the request in the report is not signed by this guest's key: {0}")]
    Request(#[source] CoseError),
    /// The request's payload is malformed.
    #[error("the request's payload is malformed: {0}")]
    RequestPayload(#[source] RequestError),
    /// The guest's chain does not lead to the fleet CA, or is not a guest's.
    #[error("the guest's certificate chain was refused: {0}")]
    GuestChain(#[source] ChainError),
    /// Report, its key or the guest's key are of different guests.
    #[error("the report is of {report}, but a key in it belongs to {key}")]
    OtherGuest {
        /// The guest that the report names.
        report: GuestIdentity,
        /// The guest that a certificate names.
        key: GuestIdentity,
    },
    /// A certificate was issued by another card than the guest runs on.
    #[error("a key of {guest} was certified by another card")]
    OtherCard {
        /// The guest.
        guest: GuestIdentity,
    },
    /// Report and certificates tell of different launches.
    #[error(
        "the launch measurements of report and certificates differ; enrol the guest's key anew after each boot"
    )]
    OtherLaunch,
    /// The certificates were issued in different boots of the host.
    #[error(
        "the certificates of the guest's and the report's key are of different boots of the host; enrol the guest's key anew"
    )]
    OtherBoot,
    /// The certificates name no vault, or different ones.
    #[error("the certificates do not agree on the vault that holds the card's key")]
    OtherVault,
    /// The page digests that the report commits to did not come with it.
    #[error("the report's page digests are missing; hand them in beside it")]
    NoPageDigests,
    /// The report is too old.
    #[error(
        "the report was made {age_ms} ms ago, more than {MAX_CLOCK_SKEW_MS}; ask for a new one"
    )]
    Expired {
        /// Its age in milliseconds.
        age_ms: u64,
    },
    /// The report is of the future.
    #[error("the report was made {ahead_ms} ms in the future; set the host's clock")]
    Future {
        /// How far ahead its time is, in milliseconds.
        ahead_ms: u64,
    },
    /// The report contradicts its request or itself.
    #[error("the report is inconsistent: {0}")]
    Inconsistent(#[from] InconsistentReportError),
}

/// Verifies a report (COSE_Sign1) and the request in it. `guest_chain`: DER, leaf first, without the fleet CA;
/// `now_ms`: milliseconds since the Unix epoch.
///
/// Memory and time are bounded by the size of the report, which is at most 4 MiB, and of its page digests, of which
/// there are at most [`SignedReport::MAX_PAGE_DIGESTS`].
pub fn verify_report(
    report: &SignedReport,
    guest_chain: &[Vec<u8>],
    ca: &FleetCa,
    now_ms: u64,
) -> Result<VerifiedReport, ReportError> {
    let verified = verify_at(report, guest_chain, ca, now_ms)?;
    if verified.report.page_digests.is_some() && verified.page_digests.is_none() {
        return Err(ReportError::NoPageDigests);
    }
    let measured_at = verified.report.measured_at_ms;
    let age_ms = now_ms.saturating_sub(measured_at);
    let ahead_ms = measured_at.saturating_sub(now_ms);
    if age_ms > MAX_CLOCK_SKEW_MS {
        return Err(ReportError::Expired { age_ms });
    }
    if ahead_ms > MAX_CLOCK_SKEW_MS {
        return Err(ReportError::Future { ahead_ms });
    }
    Ok(verified)
}

impl VerifiedReport {
    /// The report.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The request that it answers.
    #[must_use]
    pub const fn request(&self) -> &MeasurementRequest {
        &self.request
    }

    /// SHA-256 of the signed request (the whole COSE_Sign1).
    #[must_use]
    pub const fn request_digest(&self) -> &[u8; 32] {
        &self.request_digest
    }

    /// RFC 7638 thumbprint (SHA-256) of the key that signed the request.
    #[must_use]
    pub const fn guest_key_thumbprint(&self) -> &[u8; 32] {
        &self.guest_key_thumbprint
    }

    /// The back end that holds the card's key.
    #[must_use]
    pub const fn vault(&self) -> VaultKind {
        self.vault
    }

    /// The measurement register at the end of each phase of the host's boot, as the report key's certificate has it; empty
    /// where the boot was not measured.
    #[must_use]
    pub fn phases(&self) -> &[Sha384] {
        &self.phases
    }

    /// SHA-256 over the DER SubjectPublicKeyInfo of the card's keys that certified the report's and the guest's key: of those that the
    /// card has had, which may have been succeeded.
    #[must_use]
    pub const fn card_keys(&self) -> &[[u8; 32]; 2] {
        &self.card_keys
    }
}

/// Everything but the time window, with certificates as of `at_ms`. Page digests are checked where they are given.
pub(super) fn verify_at(
    signed: &SignedReport,
    guest_chain: &[Vec<u8>],
    ca: &FleetCa,
    at_ms: u64,
) -> Result<VerifiedReport, ReportError> {
    let message =
        Unverified::parse(&signed.message, MessageType::Report).map_err(ReportError::Report)?;
    let measurer = verify_chain(message.chain(), ca, at_ms / 1000, Usage::ReportKey)
        .map_err(ReportError::ReportChain)?;
    let payload = message
        .verify(&measurer.public_key)
        .map_err(ReportError::Report)?;
    let report = Report::decode(&payload).map_err(ReportError::ReportPayload)?;

    let guest_key = verify_chain(guest_chain, ca, at_ms / 1000, Usage::GuestKey)
        .map_err(ReportError::GuestChain)?;
    let payload = Unverified::parse(&report.request, MessageType::MeasurementRequest)
        .and_then(|message| message.verify(&guest_key.public_key))
        .map_err(ReportError::Request)?;
    let request = MeasurementRequest::decode(&payload).map_err(ReportError::RequestPayload)?;

    let vault = same_guest(&report, [&measurer, &guest_key])?;
    let (Some(by_report), Some(by_guest)) = (measurer.card_key, guest_key.card_key) else {
        // Unreachable by `verify_chain`: both usages have a card.
        return Err(ReportError::OtherCard {
            guest: report.guest,
        });
    };
    consistency::check(&report, &request, signed.page_digests.as_deref())?;
    Ok(VerifiedReport {
        request_digest: sha256(&report.request),
        guest_key_thumbprint: guest_key.public_key.thumbprint(),
        vault,
        page_digests: signed.page_digests.clone(),
        phases: measurer.phases,
        card_keys: [by_report, by_guest],
        request,
        report,
    })
}

/// Checks that both keys belong to the guest that the report names, in the launch that it names.
fn same_guest(report: &Report, keys: [&VerifiedCertificate; 2]) -> Result<VaultKind, ReportError> {
    for key in keys {
        let (Subject::Measurer(owner) | Subject::Guest(owner)) = key.subject else {
            // Unreachable by `verify_chain`, which returns the subject that its usage demands.
            return Err(ReportError::OtherCard {
                guest: report.guest,
            });
        };
        if owner != report.guest {
            return Err(ReportError::OtherGuest {
                report: report.guest,
                key: owner,
            });
        }
        if key.card != Some(report.guest.card) {
            return Err(ReportError::OtherCard {
                guest: report.guest,
            });
        }
        if key.launch_measurement.as_ref() != Some(&report.launch_measurement) {
            return Err(ReportError::OtherLaunch);
        }
    }
    // What a boot has come to further on is no other boot.
    let [one, other] = keys.map(|key| key.phases.as_slice());
    if !one.starts_with(other) && !other.starts_with(one) || one.is_empty() != other.is_empty() {
        return Err(ReportError::OtherBoot);
    }
    match keys.map(|key| key.vault) {
        [Some(one), Some(other)] if one == other => Ok(one),
        _ => Err(ReportError::OtherVault),
    }
}
