//! The root key: from a file of 32 random bytes, or stretched from a passphrase.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{hkdf, pbkdf2};
use zeroize::Zeroizing;

/// PBKDF2 iterations (OWASP's figure for HMAC-SHA-256).
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};
/// Shortest passphrase in bytes.
const MIN_PASSPHRASE: usize = 12;

/// The key that seals all others.
#[derive(Debug)]
pub struct RootKey(RandomizedNonceKey);

/// There is no usable root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file cannot be read or made.
    #[error("root key {path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("root key {path} can be read by others (mode {mode:o}); make it 0600", path = .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not 32 bytes.
    #[error("root key {path} has {length} bytes, not 32", path = .path.display())]
    Length {
        /// Which.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// The passphrase is too short.
    #[error("the passphrase in {path} is shorter than {MIN_PASSPHRASE} bytes", path = .path.display())]
    ShortPassphrase {
        /// Which file.
        path: PathBuf,
    },
    /// No random numbers, or the derivation failed.
    #[error("the root key could not be derived")]
    Derive,
}

impl RootKey {
    /// Reads the key file; makes it if there is none.
    pub fn from_file(path: &Path) -> Result<Self, RootKeyError> {
        let failed = |source| RootKeyError::File {
            path: path.into(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            let mut fresh = Zeroizing::new([0; 32]);
            SystemRandom::new()
                .fill(&mut *fresh)
                .map_err(|_| RootKeyError::Derive)?;
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path);
            file.and_then(|mut file| file.write_all(&*fresh).and_then(|()| file.sync_all()))
                .map_err(failed)?;
        }
        let bytes = read_secret(path)?;
        if bytes.len() != 32 {
            return Err(RootKeyError::Length {
                path: path.into(),
                length: bytes.len(),
            });
        }
        Self::derive(&bytes)
    }

    /// Stretches the passphrase in a file; `salt` is the store's own.
    pub fn from_passphrase(path: &Path, salt: &[u8; 32]) -> Result<Self, RootKeyError> {
        let text = read_secret(path)?;
        let passphrase = text.trim_ascii_end();
        if passphrase.len() < MIN_PASSPHRASE {
            return Err(RootKeyError::ShortPassphrase { path: path.into() });
        }
        let mut stretched = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ITERATIONS,
            salt,
            passphrase,
            &mut *stretched,
        );
        Self::derive(&*stretched)
    }

    pub(super) const fn aead(&self) -> &RandomizedNonceKey {
        &self.0
    }

    /// HKDF (RFC 5869) with the use in `info`: the file's bytes themselves encrypt nothing.
    fn derive(secret: &[u8]) -> Result<Self, RootKeyError> {
        let derive = RootKeyError::Derive;
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bartizan-vault").extract(secret);
        let mut key = Zeroizing::new([0; 32]);
        let info: [&[u8]; 1] = [b"seal private keys, AES-256-GCM"];
        let Ok(expanded) = extracted.expand(&info, hkdf::HKDF_SHA256) else {
            return Err(derive);
        };
        if expanded.fill(&mut *key).is_err() {
            return Err(derive);
        }
        RandomizedNonceKey::new(&AES_256_GCM, &*key)
            .map(Self)
            .map_err(|_| derive)
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
    let failed = |source| RootKeyError::File {
        path: path.into(),
        source,
    };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RootKeyError::Exposed {
            path: path.into(),
            mode,
        });
    }
    fs::read(path).map(Zeroizing::new).map_err(failed)
}
