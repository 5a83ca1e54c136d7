//! Fetching and verifying the bundle.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bartizan_boot::{Bundle, BundleError, ManifestError, Part, VerifiedManifest};
use bartizan_cose::PublicKey;

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
    /// It is no bundle.
    #[error("{path}: {source}", path = .path.display())]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
    /// Its manifest is not signed by the release key.
    #[error("{path}: {source}", path = .path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<ManifestError>,
    },
    /// It is of another part.
    #[error("{path} is a release of the {part}, not a bundle", path = .path.display())]
    Part {
        /// Which file.
        path: PathBuf,
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
    let bundle = Bundle::from_bytes(&bytes).map_err(|source| FetchError::Bundle {
        path: path.into(),
        source,
    })?;
    let manifest = VerifiedManifest::verify(&bundle.manifest, release_key);
    let manifest = manifest.map_err(|source| FetchError::Manifest {
        path: path.into(),
        source: Box::new(source),
    })?;
    match manifest.manifest().part {
        Part::Bundle => Ok(bytes),
        part @ Part::Base => Err(FetchError::Part {
            path: path.into(),
            part,
        }),
    }
}
