//! QEMU from what the launcher measured: its program, its loader, its libraries, its modules and its firmware, each a sealed
//! memory file, so that no path decides what it is made of.
//!
//! The loader is executed rather than the program, which would have the kernel take the loader that lies on disk. Libraries are
//! preloaded: one that is loaded already satisfies whoever names it (ld.so(8)). What QEMU opens by name itself, modules and
//! firmware, it finds in a folder of links to its own descriptors; a link that leads elsewhere opens nothing, since QEMU may
//! open no path ([`crate::confinement::qemu`]).

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bartizan_local::measured::{Handed, NotHanded};
use serde::{Deserialize, Serialize};

use super::process::inherited;

/// The numbers of the descriptors that QEMU is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    program: RawFd,
    loader: RawFd,
    libraries: Vec<RawFd>,
    /// What is found by name: where in the folder, and which.
    found: Vec<(String, RawFd)>,
    folder: PathBuf,
}

/// How QEMU is executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Execution {
    /// What is executed.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// Folders in the folder.
const FIRMWARE: &str = "firmware";
const MODULES: &str = "modules";

impl Parts {
    /// The parts of a program that was handed to this process under a name: `NAME`, `NAME/loader`, `NAME/lib/…`,
    /// `NAME/modules/…`, `NAME/firmware/…`. `folder` is for the links.
    pub fn handed(handed: &Handed, name: &str, folder: PathBuf) -> Result<Self, NotHanded> {
        let (mut libraries, mut found) = (Vec::new(), Vec::new());
        for (part, number) in handed.beneath(name) {
            match part.split_once('/') {
                Some(("lib", _)) => libraries.push(number),
                Some((MODULES | FIRMWARE, _)) => found.push((part.to_owned(), number)),
                _ => {}
            }
        }
        Ok(Self {
            program: handed.number(name)?,
            loader: handed.number(&format!("{name}/loader"))?,
            libraries,
            found,
            folder,
        })
    }

    /// Makes the links, anew.
    pub fn link(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for name in [FIRMWARE, MODULES] {
            let folder = self.folder.join(name);
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        }
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755))?;
        for (name, number) in &self.found {
            symlink(path(*number), self.folder.join(name))?;
        }
        Ok(())
    }

    /// How QEMU is executed.
    #[must_use]
    pub fn execution(&self) -> Execution {
        let libraries: Vec<_> = self.libraries.iter().copied().map(path).collect();
        let mut arguments = vec!["--inhibit-cache".into()];
        if !libraries.is_empty() {
            arguments.extend(["--preload".into(), libraries.join(":")]);
        }
        arguments.extend([
            "--argv0".into(),
            "qemu-system-x86_64".into(),
            path(self.program),
        ]);
        arguments.extend([
            "-L".into(),
            self.folder.join(FIRMWARE).display().to_string(),
        ]);
        Execution {
            program: path(self.loader).into(),
            arguments,
            environment: vec![("QEMU_MODULE_DIR", self.folder.join(MODULES))],
        }
    }

    /// The descriptors that QEMU must have.
    pub fn descriptors(&self) -> io::Result<Vec<BorrowedFd<'static>>> {
        let found = self.found.iter().map(|(_, number)| number);
        let all = [&self.program]
            .into_iter()
            .chain(&self.libraries)
            .chain(found);
        all.map(|number| inherited(*number)).collect()
    }
}

impl Execution {
    /// QEMU as it lies on disk.
    #[must_use]
    pub fn of_path(program: &Path) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

fn path(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDED: &str = "70=qemu\n71=qemu/loader\n72=qemu/lib/libc.so.6\n73=qemu/lib/libm.so.6\n\
        74=qemu/firmware/pvh.bin\n75=qemu/modules/accel-tcg-x86_64.so\n76=qemu-img\n77=other";

    fn parts(folder: &Path) -> Parts {
        Parts::handed(&Handed::from_text(HANDED), "qemu", folder.into()).unwrap()
    }

    #[test]
    fn nothing_of_it_is_a_path_on_disk() {
        let execution = parts("/run/x".as_ref()).execution();
        assert_eq!(execution.program, Path::new("/proc/self/fd/71"));
        let expected = [
            "--inhibit-cache",
            "--preload",
            "/proc/self/fd/72:/proc/self/fd/73",
            "--argv0",
            "qemu-system-x86_64",
            "/proc/self/fd/70",
            "-L",
            "/run/x/firmware",
        ];
        assert_eq!(execution.arguments, expected);
        let modules = ("QEMU_MODULE_DIR", PathBuf::from("/run/x/modules"));
        assert_eq!(execution.environment, [modules]);
    }

    #[test]
    fn links_lead_to_descriptors_and_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("qemu");
        for _ in 0..2 {
            parts(&folder).link().unwrap();
            let link = fs::read_link(folder.join("firmware/pvh.bin")).unwrap();
            assert_eq!(link, Path::new("/proc/self/fd/74"));
            assert!(fs::read_link(folder.join("modules/accel-tcg-x86_64.so")).is_ok());
            fs::write(folder.join("firmware/stale"), "").unwrap();
        }
        parts(&folder).link().unwrap();
        assert!(!folder.join("firmware/stale").exists());
    }

    #[test]
    fn a_program_without_its_loader_is_not_whole() {
        let handed = Handed::from_text("70=qemu\n72=qemu/lib/libc.so.6");
        Parts::handed(&handed, "qemu", "/x".into()).unwrap_err();
    }
}
