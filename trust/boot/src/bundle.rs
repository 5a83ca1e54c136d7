//! The bundle: the signed manifest of phases 3 to 5, and the files that travel with it.

use bartizan_cose::PublicKey;
use bartizan_cose::cbor::{self, CborError};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode};

use crate::{ManifestError, Part, Sha384, VerifiedManifest};

/// A bundle. Nothing in it is believed before its manifest was verified and the files were measured.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Bundle {
    /// The signed manifest (COSE_Sign1).
    #[n(0)]
    pub manifest: ByteVec,
    /// The files of components that have no path.
    #[cbor(n(1), decode_with = "at_most_files")]
    pub files: Vec<File>,
}

/// A file of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct File {
    /// The component's name.
    #[n(0)]
    pub name: String,
    /// What it is.
    #[n(1)]
    pub contents: ByteVec,
}

/// Bytes that are no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is larger than allowed.
    #[error("a bundle of {size} bytes exceeds the limit of {}", Bundle::MAX_LEN)]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// It is no bundle.
    #[error("not a release bundle: {0}")]
    Malformed(#[from] CborError),
}

/// A bundle that would stop each boot from it.
#[derive(Debug, thiserror::Error)]
pub enum UnfitBundleError {
    /// Its manifest is not signed by the release key, or impossible.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is of another part.
    #[error("it is a release of the {0}, not a bundle")]
    Part(Part),
    /// A file is not in it.
    #[error("`{0}` has no path, and does not travel in the bundle; sign the release anew")]
    Missing(String),
    /// A file is another one than was signed.
    #[error(
        "`{name}` travels with SHA-384 {found}, which the manifest does not allow; sign the release anew"
    )]
    Other {
        /// Its component.
        name: String,
        /// What it is.
        found: Sha384,
    },
}

/// Most files.
const MAX_FILES: u64 = 16;

fn at_most_files<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<File>, minicbor::decode::Error> {
    cbor::at_most::<MAX_FILES, C, File>(from, context)
}

impl Bundle {
    /// Largest bundle in bytes.
    pub const MAX_LEN: usize = 64 << 20;

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads it, in its one deterministic encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > Self::MAX_LEN {
            let size = bytes.len();
            return Err(BundleError::TooLarge { size });
        }
        Ok(cbor::decode_strict(bytes)?)
    }

    /// Whether a boot could go on from it: its manifest is a bundle's, by this key, and the files of the components that have no
    /// path are in it as they were signed. What lies on hosts nobody but they can say.
    pub fn verify(&self, release_key: &PublicKey) -> Result<VerifiedManifest, UnfitBundleError> {
        let verified = VerifiedManifest::verify(&self.manifest, release_key)?;
        let manifest = verified.manifest();
        if manifest.part != Part::Bundle {
            return Err(UnfitBundleError::Part(manifest.part));
        }
        let travelling = manifest.components.iter();
        for component in travelling.filter(|component| component.path.is_none()) {
            let name = component.name.as_str();
            let file = self
                .file(name)
                .ok_or_else(|| UnfitBundleError::Missing(name.into()))?;
            let found = Sha384::of(file);
            if !component.allows(&found) {
                let name = name.into();
                return Err(UnfitBundleError::Other { name, found });
            }
        }
        Ok(verified)
    }

    /// The file of a component.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.iter().find(|file| file.name == name)?;
        Some(&file.contents)
    }
}
