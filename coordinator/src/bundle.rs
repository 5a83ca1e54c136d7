//! Where a bundle comes from, and that it is one of this fleet's: whoever has it may serve it, the release key is what counts.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bartizan_boot::{Bundle, BundleError, ManifestError, Part, VerifiedManifest};
use bartizan_cose::PublicKey;

use crate::card::{Card, CardError};

/// Whence a bundle came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The verifier, through the card.
    Verifier,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Verifier => f.write_str("the verifier's bundle"),
        }
    }
}

/// There is no bundle to be had, or not one of this fleet's.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The card has none to hand over.
    #[error("no bundle from the verifier: {0}")]
    Card(#[from] CardError),
    /// It is no bundle.
    #[error("{origin}: {source}")]
    Bundle {
        /// Whence it came.
        origin: Origin,
        /// Why.
        source: BundleError,
    },
    /// Its manifest is not signed by the release key.
    #[error("{origin}: {source}")]
    Manifest {
        /// Whence it came.
        origin: Origin,
        /// Why.
        source: Box<ManifestError>,
    },
    /// It is of another part.
    #[error("{origin} is a release of the {part}, not a bundle")]
    Part {
        /// Whence it came.
        origin: Origin,
        /// Of what it is.
        part: Part,
    },
}

/// Reads a bundle and verifies its manifest; answers its bytes.
pub fn from_file(path: &Path, release_key: &PublicKey) -> Result<Vec<u8>, FetchError> {
    let failed = |source| FetchError::File {
        path: path.into(),
        source,
    };
    let mut bytes = Vec::new();
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let file = File::open(path).map_err(failed)?;
    file.take(Bundle::MAX_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    verified(bytes, &Origin::File(path.into()), release_key)
}

/// Has the card fetch the newest bundle of the release key, and verifies its manifest; answers its bytes.
pub fn from_verifier(card: &Card, release_key: &PublicKey) -> Result<Vec<u8>, FetchError> {
    let bytes = card.newest_bundle(release_key)?;
    verified(bytes, &Origin::Verifier, release_key)
}

fn verified(
    bytes: Vec<u8>,
    origin: &Origin,
    release_key: &PublicKey,
) -> Result<Vec<u8>, FetchError> {
    let bundle = Bundle::from_bytes(&bytes).map_err(|source| FetchError::Bundle {
        origin: origin.clone(),
        source,
    })?;
    let manifest = VerifiedManifest::verify(&bundle.manifest, release_key);
    let manifest = manifest.map_err(|source| FetchError::Manifest {
        origin: origin.clone(),
        source: Box::new(source),
    })?;
    match manifest.manifest().part {
        Part::Bundle => Ok(bytes),
        part @ Part::Base => Err(FetchError::Part {
            origin: origin.clone(),
            part,
        }),
    }
}

impl FetchError {
    /// Whether nothing was served, rather than something that is not this fleet's.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Card(error) => error.is_absence(),
            Self::Bundle { .. } | Self::Manifest { .. } | Self::Part { .. } => false,
        }
    }

    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Card(error) if error.may_pass())
    }
}
