//! Appraisal: what a verified report is worth, held against an application's profile.
//!
//! ```text
//!  bytes ──verify_report──► VerifiedReport ──appraise(profile)──► Appraisal ──result::claims──► EAR
//!          signatures, chains, window,        every executable mapping
//!          identity, digests agree            accounted for, or not affirmed
//! ```
//!
//! The guest is the adversary here. What it might try, and what answers:
//!
//! | attempt | answer |
//! |---|---|
//! | a decoy: pristine text mapped beside patched text | *every* executable mapping must be accounted for, each segment at most once |
//! | a second, clean process of the same program | *every* process that executes the program is in the report and is judged; one that was changed contradicts, whichever was named |
//! | one harmless page | only [`Target::Profile`] can be affirmed where a profile exists |
//! | an unregistered name, a digest that it computed itself | without a profile the status is `none`, whatever the expected digest says |
//! | code in anonymous, writable or shared memory, or from an unknown file | contraindicated, and named |
//! | a required file that is missing or mapped in part | contraindicated, and named |

mod archived;
mod consistency;
mod coverage;
mod finding;
mod mappings;
mod shares;
mod verified;

pub use archived::{ArchivedReport, verify_archived_report};
pub use consistency::InconsistentReportError;
pub(crate) use finding::quoted;
pub use finding::{Finding, MAX_QUOTED};
pub use verified::{MAX_CLOCK_SKEW_MS, ReportError, VerifiedReport, verify_report};

use crate::digest;
use crate::measurement::{Digest, Region, Target};
use crate::profile::ApplicationProfile;
use finding::Findings;
use mappings::ProcessJudge;
use shares::{Share, shares};

/// Most findings that an appraisal names; the rest are counted.
pub const MAX_FINDINGS: usize = 32;

/// How far a report can be believed (draft-ietf-rats-ar4si-10, trustworthiness tiers).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No opinion: there is nothing to hold the report against.
    None,
    /// Everything that the profile wants is so, and nothing else executes.
    Affirming,
    /// Reserved by the draft for partial trust; this verifier does not give it.
    Warning,
    /// Something speaks against it.
    Contraindicated,
}

/// What came of the digest that the guest said it expects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedDigest {
    /// The guest expected none.
    Absent,
    /// Equal to the measured digest.
    Equal,
    /// Another than the measured digest.
    Different,
}

/// An executable region that is allowed unseen: the kernel's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unappraised {
    /// The process.
    pub pid: u32,
    /// Its virtual addresses.
    pub region: Region,
}

/// The verifier's opinion of one report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appraisal {
    /// The opinion.
    pub status: Status,
    /// Why it is not affirming: at most [`MAX_FINDINGS`]; empty exactly where it is.
    pub findings: Vec<Finding>,
    /// How many further findings are not named.
    pub omitted_findings: u64,
    /// What came of the expected digest; never enough to be affirmed.
    pub expected: ExpectedDigest,
    /// Executable regions that the profile allows without looking at them.
    pub unappraised: Vec<Unappraised>,
    /// Id of the profile that it was held against.
    pub profile: Option<String>,
}

/// Holds a report against the profile registered for the application that its request names.
///
/// A profile of another application is no profile. Time grows with the report's mappings and pages.
#[must_use]
pub fn appraise(verified: &VerifiedReport, profile: Option<&ApplicationProfile>) -> Appraisal {
    let request = verified.request();
    let profile = profile.filter(|profile| profile.document().application == request.application);
    let expected = expected_digest(request.expected.as_ref(), &verified.report().digest);

    let mut findings = Findings::default();
    let mut unappraised = Vec::new();
    let undecidable = match profile {
        None => Some(Finding::NoProfile),
        Some(profile) => cannot_judge(verified, profile),
    };
    if let (None, Some(profile)) = (&undecidable, profile) {
        judge(verified, profile, &mut findings, &mut unappraised);
    }
    if expected == ExpectedDigest::Different {
        findings.push(Finding::ExpectedDigestDiffers);
    }

    let status = match (&undecidable, findings.is_empty()) {
        (Some(_), _) => Status::None,
        (None, true) => Status::Affirming,
        (None, false) => Status::Contraindicated,
    };
    let (mut findings, omitted_findings) = findings.into_parts();
    findings.splice(0..0, undecidable);
    Appraisal {
        status,
        findings,
        omitted_findings,
        expected,
        unappraised,
        profile: profile.map(ApplicationProfile::id),
    }
}

fn expected_digest(expected: Option<&Digest>, measured: &Digest) -> ExpectedDigest {
    match expected {
        None => ExpectedDigest::Absent,
        Some(expected) if digest::equal(expected, measured) => ExpectedDigest::Equal,
        Some(_) => ExpectedDigest::Different,
    }
}

/// Why a report cannot be held against its profile at all.
fn cannot_judge(verified: &VerifiedReport, profile: &ApplicationProfile) -> Option<Finding> {
    let request = verified.request();
    if !matches!(request.target, Target::Profile { .. }) {
        return Some(Finding::NotTheProfile);
    }
    (!profile.document().algorithms.contains(&request.algorithm)).then_some(Finding::NoReferences {
        algorithm: request.algorithm,
    })
}

fn judge(
    verified: &VerifiedReport,
    profile: &ApplicationProfile,
    findings: &mut Findings,
    unappraised: &mut Vec<Unappraised>,
) {
    let report = verified.report();
    // `verify_report` lets no report with this target pass without its process, nor with a mapping too few.
    if report.processes.is_empty() {
        return findings.push(Finding::NotTheProfile);
    }
    let mut shares = shares(report, verified.page_digests.as_deref());
    for process in &report.processes {
        let judge = ProcessJudge {
            pid: process.pid,
            request: verified.request(),
            profile,
            findings,
            unappraised,
        };
        judge.judge(process, shares.by_ref().take(process.mappings.len()));
    }
}

#[cfg(test)]
pub(crate) mod tests;
