//! Digests over a snapshot.

use bartizan_attestation::digest::{Hasher, TreeHasher, hash};
use bartizan_attestation::measurement::{
    Digest, DigestKind, HashAlgorithm, MeasuredRegion, MeasurementRequest, PAGE_SIZE, Region,
};

/// What a report says of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) overall: Digest,
    pub(crate) regions: Vec<MeasuredRegion>,
}

/// Hashes `bytes`, the contents of `regions` one after another, by the request's algorithm and kind.
pub(crate) fn digests(request: &MeasurementRequest, regions: &[Region], bytes: &[u8]) -> Digests {
    let mut overall = Overall::new(request.algorithm, request.kind);
    let mut rest = bytes;
    let mut measured = Vec::with_capacity(regions.len());
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
        let page_digests = page_digests.filter(|_| request.page_digests);
        measured.push(MeasuredRegion {
            region: *region,
            digest,
            page_digests,
        });
    }
    let overall = overall.finish();
    if let [only] = measured.as_mut_slice() {
        only.digest = overall.clone();
    }
    Digests {
        overall,
        regions: measured,
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

fn tree_root(algorithm: HashAlgorithm, page_digests: &[u8]) -> Digest {
    bartizan_attestation::digest::tree_root(algorithm, page_digests)
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
