//! SHA-384 digests: of files, manifests and events.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, Digest, SHA384, digest};
use minicbor::{Decode, Encode};

/// A SHA-384 digest (FIPS 180-4), 48 bytes. Shown as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Sha384(#[cbor(with = "minicbor::bytes")] pub [u8; 48]);

/// Text that is no digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a SHA-384 digest has 96 lower-case hexadecimal digits")]
pub struct NoDigest;

impl Sha384 {
    /// All zero: a register at its start.
    pub const ZERO: Self = Self([0; 48]);

    /// The digest over `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&digest(&SHA384, bytes))
    }

    fn from_digest(digest: &Digest) -> Self {
        let mut bytes = [0; 48];
        // INVARIANT: SHA-384 is 48 bytes long, so that nothing is cut off or left at zero.
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// A digest in progress.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// Starts one.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA384))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest over all bytes added.
    #[must_use]
    pub fn finish(self) -> Sha384 {
        Sha384::from_digest(&self.0.finish())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl fmt::Display for Sha384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha384({self})")
    }
}

impl FromStr for Sha384 {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let mut bytes = [0; 48];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NoDigest)?;
        let digest = Self(bytes);
        if digest.to_string() == text {
            Ok(digest)
        } else {
            Err(NoDigest)
        }
    }
}
