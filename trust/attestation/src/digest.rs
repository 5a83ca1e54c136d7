//! Hashing: flat digests, and Merkle trees over page digests.

mod tree;

use aws_lc_rs::digest as hashing;
use subtle::ConstantTimeEq;

use crate::measurement::{Digest, HashAlgorithm};

pub use tree::{TreeHasher, tree_root};

/// A hash in progress.
#[derive(Clone)]
pub struct Hasher(Context);

#[derive(Clone)]
enum Context {
    Sha(hashing::Context),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Starts a hash.
    #[must_use]
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self(match implementation(algorithm) {
            Implementation::Sha(which) => Context::Sha(hashing::Context::new(which)),
            Implementation::Blake3 => Context::Blake3(Box::default()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Context::Sha(context) => context.update(bytes),
            Context::Blake3(context) => {
                context.update(bytes);
            }
        }
    }

    /// The digest over all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            Context::Sha(context) => context.finish().as_ref().to_vec(),
            Context::Blake3(context) => context.finalize().as_bytes().to_vec(),
        })
    }
}

/// The digest over `bytes`.
#[must_use]
pub fn hash(algorithm: HashAlgorithm, bytes: &[u8]) -> Digest {
    Digest(match implementation(algorithm) {
        Implementation::Sha(which) => hashing::digest(which, bytes).as_ref().to_vec(),
        Implementation::Blake3 => blake3::hash(bytes).as_bytes().to_vec(),
    })
}

/// SHA-256 over `bytes`, for fingerprints and key ids.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    // INVARIANT: SHA-256 is 32 bytes long, so that nothing is cut off or left at zero.
    for (to, from) in digest
        .iter_mut()
        .zip(hashing::digest(&hashing::SHA256, bytes).as_ref())
    {
        *to = *from;
    }
    digest
}

/// Whether two digests are equal, in time that depends on their lengths only.
///
/// `==` on [`Digest`] stops at the first difference, which tells whoever can measure it how much of
/// a secret reference value was guessed: wherever one side is chosen by a guest, compare with this.
#[must_use]
pub fn equal(a: &Digest, b: &Digest) -> bool {
    a.0.ct_eq(&b.0).into()
}

/// Whose an algorithm is.
enum Implementation {
    Sha(&'static hashing::Algorithm),
    Blake3,
}

fn implementation(algorithm: HashAlgorithm) -> Implementation {
    Implementation::Sha(match algorithm {
        HashAlgorithm::Sha256 => &hashing::SHA256,
        HashAlgorithm::Sha384 => &hashing::SHA384,
        HashAlgorithm::Sha512 => &hashing::SHA512,
        HashAlgorithm::Sha3_256 => &hashing::SHA3_256,
        HashAlgorithm::Sha3_384 => &hashing::SHA3_384,
        HashAlgorithm::Sha3_512 => &hashing::SHA3_512,
        HashAlgorithm::Blake3 => return Implementation::Blake3,
    })
}

#[cfg(test)]
mod tests;
