//! Whether a report agrees with its request and with itself.
//!
//! The measurer is trusted to say what it saw, not to be free of bugs: a report that contradicts itself is
//! refused as a whole rather than judged. Lengths, alignment and overlaps were checked when it was decoded.

use std::collections::BTreeSet;

use super::shares::shares;
use crate::digest::{self, TreeHasher};
use crate::measurement::{
    Digest, DigestKind, Mapping, MappingFlags, MeasurementRequest, Region, Report, ResolvedProcess,
    Target,
};

/// A report contradicts its request or itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InconsistentReportError {
    /// A digest's length is not its algorithm's.
    #[error("a digest's length is not that of the request's algorithm")]
    DigestLength,
    /// Page digests that were not asked for, or not those that the report commits to.
    #[error("the page digests were not asked for, or are not those that the report commits to")]
    PageDigests,
    /// A region's or the overall tree digest is not the root over the page digests.
    #[error("a tree digest is not the root over the page digests")]
    TreeRoot,
    /// The overall digest of one region differs from that region's.
    #[error("the overall digest of a single region differs from the region's")]
    OverallDigest,
    /// The regions are not the ones asked for.
    #[error("the regions are not those that the request names")]
    Regions,
    /// Processes where none were asked for, none where one was, another one first, or one twice.
    #[error("the report's processes are not what the request names")]
    Process,
    /// A mapping of the profile's target is not executable.
    #[error("a mapping measured for a profile is not executable")]
    NotExecutable,
}

pub(super) fn check(
    report: &Report,
    request: &MeasurementRequest,
    page_digests: Option<&[u8]>,
) -> Result<(), InconsistentReportError> {
    use InconsistentReportError as Error;
    target(report, &request.target)?;
    let length = request.algorithm.digest_len();
    let mut digests = report
        .regions
        .iter()
        .map(|region| &region.digest)
        .chain([&report.digest])
        .chain(&report.page_digests);
    if !digests.all(|digest| digest.0.len() == length) {
        return Err(Error::DigestLength);
    }
    match report.regions.as_slice() {
        [] => return Err(Error::Regions),
        [only] if !digest::equal(&only.digest, &report.digest) => return Err(Error::OverallDigest),
        _ => {}
    }
    if report.page_digests.is_some() && !request.page_digests {
        return Err(Error::PageDigests);
    }
    match (&report.page_digests, page_digests) {
        (Some(committed), Some(given)) => pages(report, request, committed, given),
        (None, Some(_)) => Err(Error::PageDigests),
        (_, None) => Ok(()),
    }
}

fn target(report: &Report, target: &Target) -> Result<(), InconsistentReportError> {
    use InconsistentReportError as Error;
    let measured = || report.regions.iter().map(|measured| measured.region);
    match (target, report.processes.as_slice()) {
        (Target::Physical(regions), []) => same(measured(), regions.iter().copied()),
        (Target::Virtual { pid, regions }, [process]) if process.pid == *pid => {
            same(measured(), regions.iter().copied())
        }
        (Target::Profile { pid }, processes @ [first, ..]) if first.pid == *pid => {
            let mut pids = BTreeSet::new();
            if !processes.iter().all(|process| pids.insert(process.pid)) {
                return Err(Error::Process);
            }
            let mappings = processes.iter().flat_map(|process| &process.mappings);
            same(measured(), mappings.map(|mapping| mapping.region))?;
            processes.iter().try_for_each(all_executable)
        }
        _ => Err(Error::Process),
    }
}

fn same(
    measured: impl Iterator<Item = Region>,
    named: impl Iterator<Item = Region>,
) -> Result<(), InconsistentReportError> {
    if measured.eq(named) {
        Ok(())
    } else {
        Err(InconsistentReportError::Regions)
    }
}

fn all_executable(process: &ResolvedProcess) -> Result<(), InconsistentReportError> {
    let executable = |mapping: &Mapping| mapping.flags.contains(MappingFlags::EXEC);
    if process.mappings.iter().all(executable) {
        Ok(())
    } else {
        Err(InconsistentReportError::NotExecutable)
    }
}

/// Checks page digests against what the report commits to: their digest, and the roots of trees.
fn pages(
    report: &Report,
    request: &MeasurementRequest,
    committed: &Digest,
    given: &[u8],
) -> Result<(), InconsistentReportError> {
    use InconsistentReportError as Error;
    let length = request.algorithm.digest_len();
    let due = report
        .regions
        .iter()
        .map(|measured| measured.region.pages())
        .fold(0_u64, u64::saturating_add)
        .saturating_mul(length as u64);
    if given.len() as u64 != due
        || !digest::equal(&digest::hash(request.algorithm, given), committed)
    {
        return Err(Error::PageDigests);
    }
    if request.kind == DigestKind::Flat {
        return Ok(());
    }
    let mut overall = TreeHasher::new(request.algorithm);
    given.chunks(length).for_each(|page| overall.push(page));
    let regions = shares(report, Some(given)).all(|share| {
        let root = digest::tree_root(request.algorithm, share.page_digests.unwrap_or_default());
        digest::equal(&root, &share.measured.digest)
    });
    if regions && digest::equal(&overall.finish(), &report.digest) {
        Ok(())
    } else {
        Err(Error::TreeRoot)
    }
}
