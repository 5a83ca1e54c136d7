//! Digests over a snapshot.

use bartizan_attestation::digest::{Hasher, TreeHasher, hash, tree_root};
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, MeasuredRegion, MeasurementRequest, PAGE_SIZE, Region,
};

/// What a report says of the bytes, and what goes with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) overall: Digest,
    pub(crate) regions: Vec<MeasuredRegion>,
    /// The digest of each page of each region, in order, concatenated; where the request wishes for them.
    pub(crate) page_digests: Option<Vec<u8>>,
}

/// Hashes `bytes`, the contents of `regions` one after another, by the request's algorithm and kind.
pub(crate) fn digests(request: &MeasurementRequest, regions: &[Region], bytes: &[u8]) -> Digests {
    let mut overall = Overall::new(request.algorithm, request.kind);
    let mut rest = bytes;
    let mut measured = Vec::with_capacity(regions.len());
    let mut kept = request.page_digests.then(Vec::new);
    for region in regions {
        // INVARIANT: the snapshot has as many bytes as its regions together.
        let size = usize::try_from(region.size)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (contents, later) = rest.split_at(size);
        rest = later;
        let page_digests = (request.kind == DigestKind::Tree || request.page_digests)
            .then(|| page_digests(request.algorithm, contents));
        let digest = match (request.kind, &page_digests) {
            (DigestKind::Tree, Some(pages)) => tree_root(request.algorithm, pages),
            // One region alone is the whole: it is hashed once, below.
            _ if regions.len() == 1 => Digest(Vec::new()),
            _ => hash(request.algorithm, contents),
        };
        overall.add(contents, page_digests.as_deref());
        if let (Some(kept), Some(page_digests)) = (&mut kept, page_digests) {
            kept.extend_from_slice(&page_digests);
        }
        measured.push(MeasuredRegion {
            region: *region,
            digest,
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

/// The digest over all regions together.
enum Overall {
    Flat(Hasher),
    Tree { tree: TreeHasher, digest_len: usize },
}

impl Overall {
    fn new(algorithm: HashAlgorithm, kind: DigestKind) -> Self {
        match kind {
            DigestKind::Flat => Self::Flat(Hasher::new(algorithm)),
            DigestKind::Tree => Self::Tree {
                tree: TreeHasher::new(algorithm),
                digest_len: algorithm.digest_len(),
            },
        }
    }

    fn add(&mut self, contents: &[u8], page_digests: Option<&[u8]>) {
        match self {
            Self::Flat(hasher) => hasher.update(contents),
            Self::Tree { tree, digest_len } => page_digests
                .unwrap_or_default()
                .chunks(*digest_len)
                .for_each(|page_digest| tree.push(page_digest)),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Flat(hasher) => hasher.finish(),
            Self::Tree { tree, .. } => tree.finish(),
        }
    }
}

/// The page digests, concatenated.
fn page_digests(algorithm: HashAlgorithm, contents: &[u8]) -> Vec<u8> {
    // INVARIANT: 4096 fits.
    let page_size = usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX);
    let mut digests =
        Vec::with_capacity(contents.len().div_ceil(page_size) * algorithm.digest_len());
    for page in contents.chunks(page_size) {
        digests.extend_from_slice(&hash(algorithm, page).0);
    }
    digests
}

#[cfg(test)]
mod tests;
