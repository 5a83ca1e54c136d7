//! A log file of bounded size: the newest part, and the part before it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size in bytes at which a new part is begun; two parts are kept.
const PART: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    /// Appends. A log that cannot be written (a full disk) must not stop a guest: output is then lost to
    /// the log, not to the memory.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.size >= PART
            && let Err(error) = self.begin_part()
        {
            tracing::warn!(%error, "console log not renewed");
            return;
        }
        self.size += bytes.len() as u64;
        if let Err(error) = self.file.write_all(bytes) {
            tracing::debug!(%error, "console output not logged");
        }
    }

    fn begin_part(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.1"))?;
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// Readable by the owner only: what a guest prints may be secret.
fn append(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        let mut log = Log::open(path.clone()).unwrap();
        for _ in 0..5 {
            log.write(&vec![0; 8 << 20]);
        }
        let sizes: u64 = fs::read_dir(&folder)
            .unwrap()
            .map(|one| one.unwrap().metadata().unwrap().len())
            .sum();
        assert_eq!(sizes, 2 * PART);
    }
}
