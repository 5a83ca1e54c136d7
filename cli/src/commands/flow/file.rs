//! Where a capture goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A file that nobody else may read, or standard output.
#[derive(Debug)]
pub(super) struct CaptureFile {
    path: PathBuf,
    /// None is standard output.
    file: Option<File>,
    is_empty: bool,
}

impl CaptureFile {
    /// Makes it; `-` is standard output, unless that is a terminal.
    ///
    /// Known attack: a guest sends what the operator's terminal takes for commands.
    pub(super) fn make(path: PathBuf) -> Result<Self> {
        let file = if path == Path::new("-") {
            ensure!(
                !io::stdout().is_terminal(),
                "standard output is a terminal, for which packets are not; name a file, or lead it to a program: `--output - | tcpdump -nr -`"
            );
            None
        } else {
            let made = OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&path);
            Some(made.with_context(|| {
                format!(
                    "{} cannot be made; name a file that is not there yet, in a folder that is",
                    path.display()
                )
            })?)
        };
        Ok(Self {
            path,
            file,
            is_empty: true,
        })
    }

    /// Appends, so that what is there is whole whenever this ends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.is_empty = false;
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
        };
        written.with_context(|| format!("{} cannot be written", self.name()))
    }

    /// Nothing more comes, since something went wrong: what has no bytes was in vain.
    pub(super) fn leave(self) {
        if self.is_empty && self.file.is_some() {
            // It was made here, and holds nothing.
            let _ = fs::remove_file(&self.path);
        }
    }

    pub(super) const fn is_standard_output(&self) -> bool {
        self.file.is_none()
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self.file {
            Some(_) => self.path.display().to_string(),
            None => "standard output".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_for_its_owner_alone_and_left_only_with_something_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.pcap");
        CaptureFile::make(path.clone()).unwrap().leave();
        assert!(!path.exists());
        let mut file = CaptureFile::make(path.clone()).unwrap();
        file.write(b"pcap").unwrap();
        file.leave();
        assert_eq!(fs::read(&path).unwrap(), b"pcap");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What is there is nobody's to write over.
        CaptureFile::make(path.clone()).map(drop).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"pcap");
    }
}
