//! Judging one executable mapping.

use super::coverage::{Coverage, Piece};
use super::finding::{Finding, Findings, quoted};
use crate::digest;
use crate::measurement::{
    Digest, Mapping, MappingFlags, MeasuredRegion, MeasurementRequest, PAGE_SIZE, Region,
};
use crate::profile::{ApplicationProfile, Reference, Segment, SpecialMappings};

/// Judges the kernel's own mapping: one at most, without a file, not writable, and only by the profile's leave.
pub(super) fn judge_special(
    mapping: &Mapping,
    profile: &ApplicationProfile,
    unappraised: &mut Vec<Region>,
    findings: &mut Findings,
) {
    let allowed = match profile.document().special_mappings {
        SpecialMappings::Refuse => false,
        SpecialMappings::Unappraised => true,
    };
    let plain = mapping.path.is_none() && !mapping.flags.contains(MappingFlags::WRITE);
    if allowed && plain && unappraised.is_empty() {
        unappraised.push(mapping.region);
    } else {
        findings.push(Finding::SpecialMapping {
            address: mapping.region.address,
        });
    }
}

/// Judges every other mapping: code of a file that the profile knows, unchanged.
pub(super) fn judge<'p>(
    mapping: &Mapping,
    measured: &MeasuredRegion,
    request: &MeasurementRequest,
    profile: &'p ApplicationProfile,
    findings: &mut Findings,
    coverage: &mut Coverage<'p>,
) {
    match located(mapping, profile) {
        Err(finding) => findings.push(finding),
        Ok((path, segment)) => {
            let piece = Piece::new(mapping, path, segment);
            match segment.reference(request.algorithm) {
                Some(reference) => {
                    let names_pages = profile.document().allow_page_digests;
                    compare(&piece, measured, request, reference, names_pages, findings);
                }
                None => findings.push(Finding::NoReferences {
                    algorithm: request.algorithm,
                }),
            }
            coverage.add(piece);
        }
    }
}

/// Where in the profile a mapping belongs.
fn located<'p>(
    mapping: &Mapping,
    profile: &'p ApplicationProfile,
) -> Result<(&'p str, &'p Segment), Finding> {
    let Region { address, size } = mapping.region;
    if mapping.flags.contains(MappingFlags::WRITE) {
        return Err(Finding::WritableExecutable { address, size });
    }
    if mapping.flags.contains(MappingFlags::SHARED) {
        let path = quoted(mapping.path.as_deref().unwrap_or_default());
        return Err(Finding::SharedExecutable { path, address });
    }
    let path = mapping
        .path
        .as_deref()
        .ok_or(Finding::AnonymousExecutable { address, size })?;
    let file = profile.file(path).ok_or_else(|| Finding::UnknownFile {
        path: quoted(path),
        address,
    })?;
    let start = mapping.file_offset;
    file.segments
        .iter()
        .find(|segment| {
            start.is_multiple_of(PAGE_SIZE)
                && segment.file_offset <= start
                && start
                    .checked_add(size)
                    .is_some_and(|end| end <= segment.file_end())
        })
        .map(|segment| (file.path.as_str(), segment))
        .ok_or_else(|| Finding::UnknownSegment {
            path: quoted(path),
            file_offset: start,
            size,
            address,
        })
}

/// Compares a mapping with its reference: by its digest, and by its page digests where there are some.
fn compare(
    piece: &Piece<'_>,
    measured: &MeasuredRegion,
    request: &MeasurementRequest,
    reference: &Reference,
    names_pages: bool,
    findings: &mut Findings,
) {
    let path = || quoted(piece.path);
    let expected = reference.expected(request.kind, piece.first, piece.count);
    let pages_expected = reference
        .page_digests(piece.first, piece.count)
        .unwrap_or_default();
    let pages_found = measured.page_digests.as_deref();

    let digest_differs = expected
        .as_ref()
        .is_some_and(|it| !digest::equal(it, &measured.digest));
    let changed = pages_found
        .map(|found| changed_pages(pages_expected, found, request.algorithm.digest_len()))
        .unwrap_or_default();
    if expected.is_none() && pages_found.is_none() {
        findings.push(Finding::PartNotComparable {
            path: path(),
            address: piece.address,
        });
    } else if names_pages && !changed.is_empty() {
        for page in changed {
            findings.push(Finding::PageDiffers {
                path: path(),
                file_offset: piece.file_offset().saturating_add(page * PAGE_SIZE),
                address: piece.address.saturating_add(page * PAGE_SIZE),
            });
        }
    } else if digest_differs || !changed.is_empty() {
        findings.push(Finding::CodeDiffers {
            path: path(),
            file_offset: piece.file_offset(),
            size: piece.count * PAGE_SIZE,
            address: piece.address,
        });
    }
}

/// Indices of pages whose digests differ; a page that only one side has differs.
fn changed_pages(expected: &[u8], found: &[u8], digest_len: usize) -> Vec<u64> {
    let pages = (expected.len().max(found.len())).div_ceil(digest_len);
    let page = |digests: &[u8], index: usize| {
        Digest(
            digests
                .chunks(digest_len)
                .nth(index)
                .unwrap_or_default()
                .to_vec(),
        )
    };
    (0..pages)
        .filter(|index| !digest::equal(&page(expected, *index), &page(found, *index)))
        .map(|index| index as u64)
        .collect()
}
