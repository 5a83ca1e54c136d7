//! Whether a report agrees with its request and with itself.
//!
//! The measurer is trusted to say what it saw, not to be free of bugs: a report that contradicts itself is
//! refused as a whole rather than judged. Lengths, alignment and overlaps were checked when it was decoded.

use crate::digest::{self, TreeHasher};
use crate::measurement::{
    DigestKind, Mapping, MappingFlags, MeasurementRequest, Region, Report, ResolvedProcess, Target,
};

/// A report contradicts its request or itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InconsistentReportError {
    /// A digest's length is not its algorithm's.
    #[error("a digest's length is not that of the request's algorithm")]
    DigestLength,
    /// Page digests that were not asked for, or are there for some regions only.
    #[error("the page digests were not asked for, or lack for some regions")]
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
    /// A process where none was asked for, none where one was, or another one.
    #[error("the report's process is not the one that the request names")]
    Process,
    /// A mapping of the profile's target is not executable.
    #[error("a mapping measured for a profile is not executable")]
    NotExecutable,
}

pub(super) fn check(
    report: &Report,
    request: &MeasurementRequest,
) -> Result<(), InconsistentReportError> {
    use InconsistentReportError as Error;
    target(report, &request.target)?;
    let length = request.algorithm.digest_len();
    let digests = report
        .regions
        .iter()
        .map(|region| &region.digest)
        .chain([&report.digest]);
    if !digests.into_iter().all(|digest| digest.0.len() == length) {
        return Err(Error::DigestLength);
    }
    match report.regions.as_slice() {
        [] => return Err(Error::Regions),
        [only] if !digest::equal(&only.digest, &report.digest) => return Err(Error::OverallDigest),
        _ => {}
    }
    pages(report, request)
}

fn target(report: &Report, target: &Target) -> Result<(), InconsistentReportError> {
    use InconsistentReportError as Error;
    let measured = || report.regions.iter().map(|measured| measured.region);
    let process_of = |pid: u32| match &report.process {
        Some(process) if process.pid == pid => Ok(process),
        _ => Err(Error::Process),
    };
    match target {
        Target::Physical(regions) => {
            if report.process.is_some() {
                return Err(Error::Process);
            }
            same(measured(), regions.iter().copied())
        }
        Target::Virtual { pid, regions } => {
            process_of(*pid)?;
            same(measured(), regions.iter().copied())
        }
        Target::Profile { pid } => {
            let process = process_of(*pid)?;
            same(
                measured(),
                process.mappings.iter().map(|mapping| mapping.region),
            )?;
            all_executable(process)
        }
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

fn pages(report: &Report, request: &MeasurementRequest) -> Result<(), InconsistentReportError> {
    use InconsistentReportError as Error;
    let with = report
        .regions
        .iter()
        .filter(|region| region.page_digests.is_some())
        .count();
    if with == 0 {
        return Ok(());
    }
    if with != report.regions.len() || !request.page_digests {
        return Err(Error::PageDigests);
    }
    let length = request.algorithm.digest_len();
    let mut overall = TreeHasher::new(request.algorithm);
    for region in &report.regions {
        let page_digests = region.page_digests.as_deref().unwrap_or_default();
        if request.kind == DigestKind::Tree {
            let root = digest::tree_root(request.algorithm, page_digests);
            if !digest::equal(&root, &region.digest) {
                return Err(Error::TreeRoot);
            }
            page_digests
                .chunks(length)
                .for_each(|page| overall.push(page));
        }
    }
    if request.kind == DigestKind::Tree && !digest::equal(&overall.finish(), &report.digest) {
        return Err(Error::TreeRoot);
    }
    Ok(())
}
