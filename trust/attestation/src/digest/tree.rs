//! Merkle tree hash over page digests (RFC 6962 section 2.1).
//!
//! Leaf `i` is `H(0x00 || u64_be(i) || page digest i)`, a node `H(0x01 || left || right)`, the empty
//! tree `H("")`. The prefixes keep a node from passing for a leaf (second preimages); the index
//! keeps equal pages from standing for one another.

use super::{Hasher, hash};
use crate::measurement::{Digest, HashAlgorithm};

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// A tree that is fed page digests one after another; it keeps one hash a level.
#[derive(Clone)]
pub struct TreeHasher {
    algorithm: HashAlgorithm,
    leaves: u64,
    /// Roots of the perfect subtrees so far, the largest first: one for each bit set in `leaves`.
    subtrees: Vec<Digest>,
}

impl TreeHasher {
    /// An empty tree.
    #[must_use]
    pub const fn new(algorithm: HashAlgorithm) -> Self {
        Self {
            algorithm,
            leaves: 0,
            subtrees: Vec::new(),
        }
    }

    /// Adds the next page's digest.
    pub fn push(&mut self, page_digest: &[u8]) {
        let index = self.leaves.to_be_bytes();
        let mut root = self.joined(LEAF, &index, page_digest);
        // Two perfect subtrees of one size make the next larger one, like carries of an addition.
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                root = self.joined(NODE, &left.0, &root.0);
            }
        }
        self.subtrees.push(root);
        self.leaves += 1;
    }

    /// The root over all leaves added.
    #[must_use]
    pub fn finish(mut self) -> Digest {
        let Some(mut root) = self.subtrees.pop() else {
            return hash(self.algorithm, &[]);
        };
        while let Some(left) = self.subtrees.pop() {
            root = self.joined(NODE, &left.0, &root.0);
        }
        root
    }

    fn joined(&self, prefix: u8, left: &[u8], right: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self.algorithm);
        hasher.update(&[prefix]);
        hasher.update(left);
        hasher.update(right);
        hasher.finish()
    }
}

/// The root over concatenated page digests of `algorithm`, the first of which has index 0.
///
/// Over several regions together the indices run on through all pages of all regions in order; a
/// region's own root starts at 0 again. Trailing bytes that are no whole digest count as one more
/// leaf: no byte is ever left out.
#[must_use]
pub fn tree_root(algorithm: HashAlgorithm, page_digests: &[u8]) -> Digest {
    let mut tree = TreeHasher::new(algorithm);
    for page_digest in page_digests.chunks(algorithm.digest_len()) {
        tree.push(page_digest);
    }
    tree.finish()
}
