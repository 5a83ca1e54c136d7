//! Files that are measured: copied into sealed memory while they are hashed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_boot::{Hasher, Sha384};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

/// Largest file in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// The lowest number of a descriptor: whoever inherits one has the lower ones for itself.
const FIRST_NUMBER: RawFd = 64;

/// A file as it was hashed. Nobody can change it any more.
#[derive(Clone, Debug)]
pub struct Measured {
    memory: Arc<OwnedFd>,
    /// What it is.
    pub sha384: Sha384,
}

/// A file that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// It cannot be opened, read or copied.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no regular file.
    #[error("{path} is no regular file", path = .0.display())]
    WrongType(PathBuf),
    /// It is too large.
    #[error("{path} has more than {MAX_FILE} bytes", path = .0.display())]
    TooLarge(PathBuf),
}

impl Measured {
    /// Copies and hashes a file. It is read once: what is swapped or changed afterwards changes nothing here.
    pub fn file(name: &str, path: &Path) -> Result<Self, MeasureError> {
        let failed = |source| MeasureError::File {
            path: path.into(),
            source,
        };
        // A pipe must not hold the boot up before its type is known.
        let file = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(MeasureError::WrongType(path.into()));
        }
        let (measured, size) = Self::copy(name, file.take(MAX_FILE + 1)).map_err(failed)?;
        if size > MAX_FILE {
            return Err(MeasureError::TooLarge(path.into()));
        }
        Ok(measured)
    }

    /// Copies and hashes bytes.
    pub fn bytes(name: &str, bytes: &[u8]) -> io::Result<Self> {
        Ok(Self::copy(name, bytes)?.0)
    }

    fn copy(name: &str, mut from: impl Read) -> io::Result<(Self, u64)> {
        // What /proc shows of it.
        let shown = format!("measured/{name}");
        let memory =
            rustix::fs::memfd_create(shown, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut copy = File::from(memory);
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut size = 0;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            hasher.update(bytes);
            copy.write_all(bytes)?;
            size += read as u64;
        }
        // Whoever is handed it may run it: as what, and whether at all, the launcher says.
        rustix::fs::fchmod(&copy, Mode::from_raw_mode(0o555))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&copy, seals)?;
        let measured = Self {
            memory: Arc::new(rustix::io::fcntl_dupfd_cloexec(&copy, FIRST_NUMBER)?),
            sha384: hasher.finish(),
        };
        Ok((measured, size))
    }

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.memory
    }

    /// Its path in a process that has inherited it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.memory.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_hashed_can_be_read_and_not_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "contents").unwrap();
        let measured = Measured::file("file", &path).unwrap();
        assert_eq!(measured.sha384, Sha384::of(b"contents"));
        // Whatever happens to the file now.
        fs::write(&path, "swapped!").unwrap();
        assert_eq!(fs::read_to_string(measured.path()).unwrap(), "contents");
        let refused = fs::write(measured.path(), "swapped!");
        assert!(refused.is_err());
        let descriptor = File::from(measured.memory.try_clone().unwrap());
        descriptor.set_len(1).unwrap_err();
        (&descriptor).write_all(b"x").unwrap_err();
    }

    #[test]
    fn only_regular_files_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [folder.path(), &pipe, Path::new("/dev/zero")] {
            let refused = Measured::file("x", path);
            assert!(
                matches!(
                    refused,
                    Err(MeasureError::WrongType(_) | MeasureError::File { .. })
                ),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_program_runs_from_its_memory() {
        let measured = Measured::file("true", Path::new("/bin/true")).unwrap();
        let status = std::process::Command::new(measured.path()).status();
        assert!(status.unwrap().success());
    }
}
