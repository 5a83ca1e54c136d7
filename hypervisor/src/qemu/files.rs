//! The files that a guest starts from: hashed, and handed to QEMU as the descriptors that were hashed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bartizan_attestation::digest::Hasher;
use bartizan_attestation::measurement::{Digest, HashAlgorithm};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

/// Largest kernel, firmware or initrd in bytes: what is copied into memory.
pub const MAX_IMAGE: u64 = 1 << 30;

/// A file and the SHA-384 of the bytes that its descriptor gives.
#[derive(Debug)]
pub struct Hashed {
    /// Open for reading.
    pub file: OwnedFd,
    /// SHA-384 of the contents.
    pub digest: Digest,
}

/// A file of a launch record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened, read or copied.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It may not be opened.
    #[error(
        "{0} may not be opened; put it beneath one of the folders that the hypervisor's configuration lists in `images`"
    )]
    Forbidden(PathBuf),
    /// It is a folder, pipe, socket or character device.
    #[error("{0} is neither a regular file nor a block device")]
    WrongType(PathBuf),
    /// It is too large to be copied into memory.
    #[error(
        "{path} has more than {limit} bytes, which is the most for a kernel, firmware or initrd"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// It is not what the operator signed.
    #[error("{path} has SHA-384 {found}, the launch record says {expected}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What was signed, lower-case hex.
        expected: String,
        /// What is there, lower-case hex.
        found: String,
    },
}

/// Copies a file into a sealed memory file while hashing it.
///
/// Nobody, the host's root included, can change the copy through the file system afterwards: what
/// QEMU loads are the bytes that were hashed.
pub fn sealed_copy(path: &Path, sha384: &str) -> Result<Hashed, FileError> {
    let failed = |source| FileError::Io {
        path: path.into(),
        source,
    };
    let original = open(path, false)?;
    let copy = rustix::fs::memfd_create(
        "bartizan-image",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )
    .map_err(|error| failed(error.into()))?;
    let mut copy = File::from(copy);
    let digest =
        hash(original.take(MAX_IMAGE + 1), |bytes| copy.write_all(bytes)).map_err(failed)?;
    if copy.metadata().map_err(failed)?.len() > MAX_IMAGE {
        return Err(FileError::TooLarge {
            path: path.into(),
            limit: MAX_IMAGE,
        });
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(|error| failed(error.into()))?;
    // QEMU's user opens it through /proc/self/fd, which asks the inode's mode; a kernel must not be
    // run as a program by anybody.
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(0o444)).map_err(|error| failed(error.into()))?;
    expect(
        path,
        Hashed {
            file: copy.into(),
            digest,
        },
        sha384,
    )
}

/// Opens a read-only disk and hashes it.
///
/// The descriptor that was hashed is the one that QEMU reads, so that the path may be replaced
/// afterwards. Whoever may write to the *file* (the host's root, the image's owner) can still change it
/// under the running guest: images belong on a file system that only the operator's tools write.
pub fn read_only_disk(path: &Path, sha384: &str) -> Result<Hashed, FileError> {
    let file = open(path, false)?;
    let digest = hash(&file, |_| Ok(())).map_err(|source| FileError::Io {
        path: path.into(),
        source,
    })?;
    expect(
        path,
        Hashed {
            file: file.into(),
            digest,
        },
        sha384,
    )
}

/// Opens a writable disk.
pub fn writable_disk(path: &Path) -> Result<OwnedFd, FileError> {
    Ok(open(path, true)?.into())
}

fn open(path: &Path, write: bool) -> Result<File, FileError> {
    use std::os::unix::fs::FileTypeExt;
    let failed = |source| FileError::Io {
        path: path.into(),
        source,
    };
    // Opening a pipe would wait for its writer: NONBLOCK does not, and means nothing for files.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options()
        .read(true)
        .write(write)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => FileError::Forbidden(path.into()),
            _ => failed(error),
        })?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() || kind.is_block_device() {
        Ok(file)
    } else {
        Err(FileError::WrongType(path.into()))
    }
}

fn hash(mut from: impl Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Digest> {
    let mut hasher = Hasher::new(HashAlgorithm::Sha384);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let size = match from.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..size).unwrap_or_default();
        hasher.update(bytes);
        each(bytes)?;
    }
}

fn expect(path: &Path, hashed: Hashed, sha384: &str) -> Result<Hashed, FileError> {
    let found = hashed.digest.to_string();
    if found == sha384 {
        Ok(hashed)
    } else {
        Err(FileError::Mismatch {
            path: path.into(),
            expected: sha384.into(),
            found,
        })
    }
}

#[cfg(test)]
mod tests;
