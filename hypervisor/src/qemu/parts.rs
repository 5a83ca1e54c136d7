//! QEMU from what the launcher measured: a [`MeasuredProgram`], and its modules and its firmware, each a sealed memory file.
//!
//! What QEMU opens by name itself, modules and firmware, it finds in a folder of links to its own descriptors; a link that leads
//! elsewhere opens nothing, since QEMU may open no path ([`crate::confinement::qemu`]).

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use bartizan_local::measured::{Handed, NotHanded};
use bartizan_write_tracking::LIBRARY;
use serde::{Deserialize, Serialize};

use super::process::inherited;
use crate::measured_program::{Execution, MeasuredProgram, path};

/// The numbers of the descriptors that QEMU is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    program: MeasuredProgram,
    /// What is found by name: where in the folder, and which.
    found: Vec<(String, RawFd)>,
    folder: PathBuf,
    /// Whether the library is among its libraries that has its writes tracked.
    #[serde(default)]
    tracked: bool,
}

/// Folders in the folder.
const FIRMWARE: &str = "firmware";
const MODULES: &str = "modules";

impl Parts {
    /// The parts of a program that was handed to this process under a name: those of [`MeasuredProgram::handed`], `NAME/modules/…`,
    /// `NAME/firmware/…`. `folder` is for the links.
    pub fn handed(handed: &Handed, name: &str, folder: PathBuf) -> Result<Self, NotHanded> {
        let found = handed.beneath(name).filter(|(part, _)| {
            let kind = part.split_once('/').map(|(kind, _)| kind);
            matches!(kind, Some(MODULES | FIRMWARE))
        });
        Ok(Self {
            program: MeasuredProgram::handed(handed, name)?,
            found: found
                .map(|(part, number)| (part.to_owned(), number))
                .collect(),
            folder,
            tracked: handed.number(&format!("{name}/lib/{LIBRARY}")).is_ok(),
        })
    }

    /// Whether the library is preloaded into it, as all its libraries are, that has its writes tracked.
    #[must_use]
    pub const fn hands_over(&self) -> bool {
        self.tracked
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
        let mut execution = self.program.execution("qemu-system-x86_64");
        let firmware = self.folder.join(FIRMWARE).display().to_string();
        execution.arguments.extend(["-L".into(), firmware]);
        execution
    }

    /// Its environment.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 1] {
        [("QEMU_MODULE_DIR", self.folder.join(MODULES))]
    }

    /// The descriptors that QEMU must have.
    pub fn descriptors(&self) -> io::Result<Vec<BorrowedFd<'static>>> {
        let mut all = self.program.descriptors()?;
        for (_, number) in &self.found {
            all.push(inherited(*number)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HANDED: &str = "70=qemu\n71=qemu/loader\n72=qemu/lib/libc.so.6\n73=qemu/lib/libm.so.6\n\
        74=qemu/firmware/pvh.bin\n75=qemu/modules/accel-tcg-x86_64.so\n76=qemu-img\n77=other";

    fn parts(folder: &Path) -> Parts {
        Parts::handed(&Handed::from_text(HANDED), "qemu", folder.into()).unwrap()
    }

    #[test]
    fn nothing_of_it_is_a_path_on_disk() {
        let parts = parts("/run/x".as_ref());
        let execution = parts.execution();
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
        assert_eq!(parts.environment(), [modules]);
    }

    #[test]
    fn only_one_with_the_library_can_be_tracked() {
        assert!(!parts("/run/x".as_ref()).hands_over());
        let with_it = format!("{HANDED}\n78=qemu/lib/libbartizan_tracked.so");
        let parts = Parts::handed(&Handed::from_text(&with_it), "qemu", "/run/x".into()).unwrap();
        assert!(parts.hands_over());
        let preloaded = parts.execution().arguments;
        assert!(
            preloaded
                .iter()
                .any(|libraries| libraries.contains("/proc/self/fd/78"))
        );
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
}
