//! Judging the executable mappings of one process.

use super::coverage::{Coverage, Piece};
use super::finding::{Finding, Findings, quoted};
use super::{Share, Unappraised};
use crate::digest;
use crate::measurement::{
    Digest, Mapping, MappingFlags, MeasurementRequest, PAGE_SIZE, Region, ResolvedProcess,
};
use crate::profile::{ApplicationProfile, Reference, Segment, SpecialMappings};

/// What a process is held against, and what is found on the way.
pub(super) struct ProcessJudge<'p, 'f> {
    pub(super) pid: u32,
    pub(super) request: &'p MeasurementRequest,
    pub(super) profile: &'p ApplicationProfile,
    pub(super) findings: &'f mut Findings,
    pub(super) unappraised: &'f mut Vec<Unappraised>,
}

impl<'p> ProcessJudge<'p, '_> {
    /// Judges every mapping of a process; `measured` holds the share of each in the report, in the same order.
    pub(super) fn judge<'r>(
        mut self,
        process: &ResolvedProcess,
        measured: impl Iterator<Item = Share<'r>>,
    ) {
        let executable = &self.profile.document().executable;
        if process.executable != *executable {
            self.findings.push(Finding::wrong_executable(
                self.pid,
                executable,
                &process.executable,
            ));
        }
        let mut coverage = Coverage::new(self.pid);
        let mut specials = 0_usize;
        for (mapping, share) in process.mappings.iter().zip(measured) {
            if mapping.special {
                self.special(mapping, specials);
                specials += 1;
            } else {
                self.mapping(mapping, &share, &mut coverage);
            }
        }
        coverage.judge(self.profile, self.findings);
    }

    /// Judges the kernel's own mapping: one at most, without a file, not writable, and only by the profile's leave.
    fn special(&mut self, mapping: &Mapping, before: usize) {
        let allowed = match self.profile.document().special_mappings {
            SpecialMappings::Refuse => false,
            SpecialMappings::Unappraised => true,
        };
        let plain = mapping.path.is_none() && !mapping.flags.contains(MappingFlags::WRITE);
        if allowed && plain && before == 0 {
            self.unappraised.push(Unappraised {
                pid: self.pid,
                region: mapping.region,
            });
        } else {
            self.findings.push(Finding::SpecialMapping {
                pid: self.pid,
                address: mapping.region.address,
            });
        }
    }

    /// Judges every other mapping: code of a file that the profile knows, unchanged.
    fn mapping(&mut self, mapping: &Mapping, share: &Share<'_>, coverage: &mut Coverage<'p>) {
        match self.located(mapping) {
            Err(finding) => self.findings.push(finding),
            Ok((path, segment)) => {
                let piece = Piece::new(mapping, path, segment);
                match segment.reference(self.request.algorithm) {
                    Some(reference) => self.compare(&piece, share, reference),
                    None => self.findings.push(Finding::NoReferences {
                        algorithm: self.request.algorithm,
                    }),
                }
                coverage.add(piece);
            }
        }
    }

    /// Where in the profile a mapping belongs.
    fn located(&self, mapping: &Mapping) -> Result<(&'p str, &'p Segment), Finding> {
        let pid = self.pid;
        let Region { address, size } = mapping.region;
        if mapping.flags.contains(MappingFlags::WRITE) {
            return Err(Finding::WritableExecutable { pid, address, size });
        }
        if mapping.flags.contains(MappingFlags::SHARED) {
            let path = quoted(mapping.path.as_deref().unwrap_or_default());
            return Err(Finding::SharedExecutable { pid, path, address });
        }
        let path = mapping
            .path
            .as_deref()
            .ok_or(Finding::AnonymousExecutable { pid, address, size })?;
        let file = self
            .profile
            .file(path)
            .ok_or_else(|| Finding::UnknownFile {
                pid,
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
                pid,
                path: quoted(path),
                file_offset: start,
                size,
                address,
            })
    }

    /// Compares a mapping with its reference: by its digest, and by its page digests where there are some.
    fn compare(&mut self, piece: &Piece<'_>, share: &Share<'_>, reference: &Reference) {
        let pid = self.pid;
        let path = || quoted(piece.path);
        let expected = reference.expected(self.request.kind, piece.first, piece.count);
        let pages_expected = reference
            .page_digests(piece.first, piece.count)
            .unwrap_or_default();

        let digest_differs = expected
            .as_ref()
            .is_some_and(|it| !digest::equal(it, &share.measured.digest));
        let changed = share
            .page_digests
            .map(|found| changed_pages(pages_expected, found, self.request.algorithm.digest_len()))
            .unwrap_or_default();
        let names_pages = self.profile.document().allow_page_digests;
        if expected.is_none() && share.page_digests.is_none() {
            self.findings.push(Finding::PartNotComparable {
                pid,
                path: path(),
                address: piece.address,
            });
        } else if names_pages && !changed.is_empty() {
            for page in changed {
                self.findings.push(Finding::PageDiffers {
                    pid,
                    path: path(),
                    file_offset: piece.file_offset().saturating_add(page * PAGE_SIZE),
                    address: piece.address.saturating_add(page * PAGE_SIZE),
                });
            }
        } else if digest_differs || !changed.is_empty() {
            self.findings.push(Finding::CodeDiffers {
                pid,
                path: path(),
                file_offset: piece.file_offset(),
                size: piece.count * PAGE_SIZE,
                address: piece.address,
            });
        }
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
