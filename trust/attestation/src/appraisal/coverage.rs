//! Which parts of which segments were seen: everything required, nothing twice, nothing apart.
//!
//! The kernel splits a mapping when the protection of a part of it changes, so that a segment may be covered by
//! several adjacent mappings; they must still lie where one mapping would.

use std::collections::BTreeMap;

use super::finding::{Finding, Findings, quoted};
use crate::measurement::{Mapping, PAGE_SIZE};
use crate::profile::{ApplicationProfile, Segment};

/// A mapping as a part of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'p> {
    /// The file.
    pub(super) path: &'p str,
    /// The segment's offset in the file.
    segment_offset: u64,
    /// Index of the first page in the segment.
    pub(super) first: u64,
    /// How many pages.
    pub(super) count: u64,
    /// Where it is mapped.
    pub(super) address: u64,
}

impl<'p> Piece<'p> {
    /// `mapping` must lie within `segment`.
    pub(super) fn new(mapping: &Mapping, path: &'p str, segment: &Segment) -> Self {
        Self {
            path,
            segment_offset: segment.file_offset,
            first: mapping.file_offset.saturating_sub(segment.file_offset) / PAGE_SIZE,
            count: mapping.region.size / PAGE_SIZE,
            address: mapping.region.address,
        }
    }

    /// Offset of the piece in the file, in bytes.
    pub(super) const fn file_offset(&self) -> u64 {
        self.segment_offset
            .saturating_add(self.first.saturating_mul(PAGE_SIZE))
    }

    /// Where the segment's first page would be mapped.
    const fn base(&self) -> u64 {
        self.address
            .wrapping_sub(self.first.wrapping_mul(PAGE_SIZE))
    }
}

/// All pieces seen in one process, by file and segment.
#[derive(Debug)]
pub(super) struct Coverage<'p> {
    pid: u32,
    pieces: BTreeMap<(&'p str, u64), Vec<Piece<'p>>>,
}

impl<'p> Coverage<'p> {
    pub(super) const fn new(pid: u32) -> Self {
        Self {
            pid,
            pieces: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, piece: Piece<'p>) {
        self.pieces
            .entry((piece.path, piece.segment_offset))
            .or_default()
            .push(piece);
    }

    pub(super) fn judge(mut self, profile: &ApplicationProfile, findings: &mut Findings) {
        let pid = self.pid;
        for pieces in self.pieces.values_mut() {
            pieces.sort_by_key(|piece| piece.first);
            again(pid, pieces, findings);
        }
        for path in &profile.document().required {
            for segment in profile.file(path).map_or(&[][..], |file| &file.segments) {
                let pieces = self.pieces.get(&(path.as_str(), segment.file_offset));
                if !covers(pieces.map_or(&[][..], Vec::as_slice), segment) {
                    findings.push(Finding::MissingMapping {
                        pid,
                        path: quoted(path),
                        file_offset: segment.file_offset,
                    });
                }
            }
        }
    }
}

/// Names every piece that overlaps the one before it, or does not lie where that one's segment lies.
fn again(pid: u32, pieces: &[Piece<'_>], findings: &mut Findings) {
    for (one, next) in pieces.iter().zip(pieces.iter().skip(1)) {
        if next.first < one.first.saturating_add(one.count) || next.base() != one.base() {
            findings.push(Finding::MappedAgain {
                pid,
                path: quoted(next.path),
                file_offset: next.file_offset(),
                address: next.address,
            });
        }
    }
}

/// Whether sorted pieces leave no page of the segment out.
fn covers(pieces: &[Piece<'_>], segment: &Segment) -> bool {
    let mut covered = 0;
    for piece in pieces {
        if piece.first > covered {
            return false;
        }
        covered = covered.max(piece.first.saturating_add(piece.count));
    }
    covered == segment.pages
}
