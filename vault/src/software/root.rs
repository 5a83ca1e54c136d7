//! The root key: from a file of 32 random bytes, or stretched from a passphrase.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{hkdf, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::secret::{self, SecretError};

/// PBKDF2 iterations (OWASP's figure for HMAC-SHA-256).
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};
/// Shortest passphrase in bytes.
const MIN_PASSPHRASE: usize = 12;

/// What seals all other keys and the store that they are in.
#[derive(Debug)]
pub struct RootKey {
    sealing: RandomizedNonceKey,
    store: hmac::Key,
}

/// There is no usable root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Its file cannot be used.
    #[error("root key {0}")]
    Secret(#[from] SecretError),
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
    /// Reads the key file; makes it if there is none. For a new store: an existing one has its key already.
    pub fn make_file(path: &Path) -> Result<Self, RootKeyError> {
        let failed = |source| SecretError::File {
            path: path.into(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            let mut fresh = Zeroizing::new([0; 32]);
            SystemRandom::new()
                .fill(&mut *fresh)
                .map_err(|_| RootKeyError::Derive)?;
            write_secret(path, &*fresh).map_err(failed)?;
        }
        Self::from_file(path)
    }

    /// Reads the key file.
    pub fn from_file(path: &Path) -> Result<Self, RootKeyError> {
        let bytes = secret::read(path)?;
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
        let text = secret::read(path)?;
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

    /// Seals private keys.
    pub(super) const fn aead(&self) -> &RandomizedNonceKey {
        &self.sealing
    }

    /// Authenticates the store.
    pub(super) const fn store(&self) -> &hmac::Key {
        &self.store
    }

    /// HKDF (RFC 5869), a key for each use: the file's bytes themselves encrypt nothing.
    fn derive(secret: &[u8]) -> Result<Self, RootKeyError> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bartizan-vault").extract(secret);
        let sealing = expand(&extracted, b"seal private keys, AES-256-GCM")?;
        let store = expand(&extracted, b"authenticate the store, HMAC-SHA-256")?;
        Ok(Self {
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &*sealing)
                .map_err(|_| RootKeyError::Derive)?,
            store: hmac::Key::new(hmac::HMAC_SHA256, &*store),
        })
    }
}

fn expand(extracted: &hkdf::Prk, usage: &[u8]) -> Result<Zeroizing<[u8; 32]>, RootKeyError> {
    let mut key = Zeroizing::new([0; 32]);
    let info = [usage];
    let expanded = extracted
        .expand(&info, hkdf::HKDF_SHA256)
        .map_err(|_| RootKeyError::Derive)?;
    expanded.fill(&mut *key).map_err(|_| RootKeyError::Derive)?;
    Ok(key)
}

fn write_secret(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret)?;
    file.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
