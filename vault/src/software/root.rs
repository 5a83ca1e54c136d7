//! The root key: from a file of 32 random bytes, or stretched from a passphrase.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

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
    source: Source,
    /// Whether the key file has it, and not the one beside it that is to take its place.
    in_place: AtomicBool,
}

/// Where it comes from.
#[derive(Clone, Debug)]
enum Source {
    KeyFile(PathBuf),
    Passphrase(PathBuf),
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
            let fresh = random()?;
            write_secret(path, &*fresh, OpenOptions::new().create_new(true)).map_err(failed)?;
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
        Self::derive(&bytes, Source::KeyFile(path.into()))
    }

    /// The one that a rotation has made for the key file, and that has not taken its place, if there is one.
    pub fn left_of(path: &Path) -> Result<Option<Self>, RootKeyError> {
        let next = next_of(path);
        let failed = |source| SecretError::File {
            path: next.clone(),
            source,
        };
        if !next.try_exists().map_err(failed)? {
            return Ok(None);
        }
        match secret::read(&next)?.as_slice() {
            bytes if bytes.len() == 32 => Self::derive(bytes, Source::KeyFile(path.into()))
                .map(Self::beside)
                .map(Some),
            // It was not even written.
            _ => Ok(None),
        }
    }

    /// Another one: a file beside the key file, or the same passphrase stretched otherwise.
    pub(super) fn next(&self, salt: &[u8; 32]) -> Result<Self, RootKeyError> {
        let path = match &self.source {
            Source::Passphrase(path) => return Self::from_passphrase(path, salt),
            Source::KeyFile(path) => path,
        };
        if !self.in_place.load(Ordering::SeqCst) {
            self.take_over()?;
        }
        let next = next_of(path);
        let fresh = random()?;
        let written = write_secret(
            &next,
            &*fresh,
            OpenOptions::new().create(true).truncate(true),
        );
        written.map_err(|source| SecretError::File { path: next, source })?;
        Self::derive(&*fresh, self.source.clone()).map(Self::beside)
    }

    /// Has the file that [`RootKey::next`] wrote take the key file's place, which is overwritten where it may be: some disks keep what
    /// was all the same.
    pub(super) fn take_over(&self) -> Result<(), RootKeyError> {
        let Source::KeyFile(path) = &self.source else {
            return Ok(());
        };
        let failed = |source| SecretError::File {
            path: path.clone(),
            source,
        };
        let former = OpenOptions::new().write(true).open(path);
        fs::rename(next_of(path), path).map_err(failed)?;
        self.in_place.store(true, Ordering::SeqCst);
        sync_folder(path).map_err(failed)?;
        let overwritten = former.and_then(|mut former| {
            former.write_all(&[0; 32])?;
            former.sync_all()
        });
        if let Err(error) = overwritten {
            tracing::warn!(%error, "the former root key is removed, but was not overwritten");
        }
        Ok(())
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
        Self::derive(&*stretched, Source::Passphrase(path.into()))
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
    fn derive(secret: &[u8], source: Source) -> Result<Self, RootKeyError> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bartizan-vault").extract(secret);
        let sealing = expand(&extracted, b"seal private keys, AES-256-GCM")?;
        let store = expand(&extracted, b"authenticate the store, HMAC-SHA-256")?;
        Ok(Self {
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &*sealing)
                .map_err(|_| RootKeyError::Derive)?,
            store: hmac::Key::new(hmac::HMAC_SHA256, &*store),
            source,
            in_place: AtomicBool::new(true),
        })
    }

    fn beside(self) -> Self {
        Self {
            in_place: AtomicBool::new(false),
            ..self
        }
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

fn random() -> Result<Zeroizing<[u8; 32]>, RootKeyError> {
    let mut fresh = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(&mut *fresh)
        .map_err(|_| RootKeyError::Derive)?;
    Ok(fresh)
}

/// What is beside a key file while it is replaced.
fn next_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

fn write_secret(path: &Path, secret: &[u8], how: &mut OpenOptions) -> io::Result<()> {
    let mut file = how.write(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.sync_all()?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
