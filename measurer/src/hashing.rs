//! Digests over a snapshot.

use bartizan_attestation::digest::{Hasher, TreeHasher, hash};
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, MeasuredRegion, MeasurementRequest, PAGE_SIZE, Region,
};

use crate::contents::{Contents, page_size};

/// What a report says of the bytes, and what goes with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) overall: Digest,
    pub(crate) regions: Vec<MeasuredRegion>,
    /// The digest of each page of each region, in order, concatenated; where the request wishes for them.
    pub(crate) page_digests: Option<Vec<u8>>,
}

/// Hashes `contents`, of `regions` one after another, by the request's algorithm and kind.
pub(crate) fn digests(
    request: &MeasurementRequest,
    regions: &[Region],
    contents: &Contents,
) -> Digests {
    let new = || InProgress::new(request.algorithm, request.kind);
    let mut overall = new();
    let mut kept = request.page_digests.then(Vec::new);
    let mut measured = Vec::with_capacity(regions.len());
    let mut first = 0;
    for region in regions {
        let pages = first..first + region.size / PAGE_SIZE;
        first = pages.end;
        // One region alone is the whole: it is hashed once.
        let mut own = (regions.len() > 1).then(new);
        let mut add = |piece: Piece<'_>| {
            overall.add(&piece);
            if let Some(own) = &mut own {
                own.add(&piece);
            }
            if let (Some(kept), Piece::PageDigest(digest)) = (&mut kept, piece) {
                kept.extend_from_slice(digest);
            }
        };
        match contents {
            Contents::Bytes(bytes) => bytes.pieces(pages).for_each(|bytes| {
                if request.kind == DigestKind::Flat {
                    add(Piece::Bytes(bytes));
                }
                if request.kind == DigestKind::Tree || request.page_digests {
                    for page in bytes.chunks(page_size()) {
                        add(Piece::PageDigest(&hash(request.algorithm, page).0));
                    }
                }
            }),
            // INVARIANT: those are kept for trees alone.
            Contents::PageDigests(digests) => digests.pieces(pages).for_each(|digests| {
                for digest in digests.chunks(request.algorithm.digest_len()) {
                    add(Piece::PageDigest(digest));
                }
            }),
        }
        measured.push(MeasuredRegion {
            region: *region,
            digest: own.map_or(Digest(Vec::new()), InProgress::finish),
        });
    }
    let overall = overall.finish();
    if let [only] = measured.as_mut_slice() {
        only.digest = overall.clone();
    }
    Digests {
        overall,
        regions: measured,
        page_digests: kept,
    }
}

/// What is hashed of a region, in order: each has its bytes, or the digests of its pages, or both.
enum Piece<'a> {
    Bytes(&'a [u8]),
    PageDigest(&'a [u8]),
}

/// A digest over some regions, which takes of the pieces those that are its kind's.
enum InProgress {
    Flat(Box<Hasher>),
    Tree(TreeHasher),
}

impl InProgress {
    fn new(algorithm: HashAlgorithm, kind: DigestKind) -> Self {
        match kind {
            DigestKind::Flat => Self::Flat(Box::new(Hasher::new(algorithm))),
            DigestKind::Tree => Self::Tree(TreeHasher::new(algorithm)),
        }
    }

    fn add(&mut self, piece: &Piece<'_>) {
        match (self, piece) {
            (Self::Flat(hasher), Piece::Bytes(bytes)) => hasher.update(bytes),
            (Self::Tree(tree), Piece::PageDigest(digest)) => tree.push(digest),
            (Self::Flat(_), Piece::PageDigest(_)) | (Self::Tree(_), Piece::Bytes(_)) => {}
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Flat(hasher) => hasher.finish(),
            Self::Tree(tree) => tree.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
