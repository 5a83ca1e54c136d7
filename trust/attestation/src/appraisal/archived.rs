//! Verifying a report later, offline: what it said then, with only the fleet CA.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::certificates::{ChainError, FleetCa, read_public_key};
use crate::cose::{MessageType, Unverified};
use crate::measurement::{MeasurementRequest, Report, SignedReport};

use super::verified::{ReportError, VerifiedReport, verify_at};

/// A report that was verified as of its own time. It says what was; nothing can be issued on it, since its
/// freshness, its nonce and revocations after it are not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchivedReport(VerifiedReport);

impl ArchivedReport {
    /// The report.
    #[must_use]
    pub const fn report(&self) -> &Report {
        self.0.report()
    }

    /// The request that it answers.
    #[must_use]
    pub const fn request(&self) -> &MeasurementRequest {
        self.0.request()
    }

    /// What it would be appraised as against `profile`.
    #[must_use]
    pub fn appraise(
        &self,
        profile: Option<&crate::profile::ApplicationProfile>,
    ) -> super::Appraisal {
        super::appraise(&self.0, profile)
    }
}

/// Verifies a report with its certificates as of the time that it names.
///
/// The guest's chain is `guest_chain`, or where that is empty the one within the signed request. Page digests are
/// checked against the report where they are given; nobody needs to have kept them.
pub fn verify_archived_report(
    report: &SignedReport,
    guest_chain: &[Vec<u8>],
    ca: &FleetCa,
) -> Result<ArchivedReport, ReportError> {
    // Certificates are judged as of the report's time, which is read by the key that the report brings along;
    // `verify_at` then checks that this key is a measurer's of this fleet.
    let claimed = claimed(&report.message)?;
    let embedded;
    let chain = if guest_chain.is_empty() {
        embedded = Unverified::parse(&claimed.request, MessageType::MeasurementRequest)
            .map_err(ReportError::Request)?;
        embedded.chain()
    } else {
        guest_chain
    };
    verify_at(report, chain, ca, claimed.measured_at_ms).map(ArchivedReport)
}

/// The report as signed by whatever key its chain begins with.
fn claimed(report: &[u8]) -> Result<Report, ReportError> {
    let message = Unverified::parse(report, MessageType::Report).map_err(ReportError::Report)?;
    let malformed = ReportError::ReportChain(ChainError::Malformed);
    let Some(Ok((_, leaf))) = message
        .chain()
        .first()
        .map(|der| X509Certificate::from_der(der))
    else {
        return Err(malformed);
    };
    let Some(key) = read_public_key(&leaf.tbs_certificate.subject_pki) else {
        return Err(malformed);
    };
    let payload = message.verify(&key).map_err(ReportError::Report)?;
    Report::decode(&payload).map_err(ReportError::ReportPayload)
}
