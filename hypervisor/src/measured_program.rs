//! A program as the launcher measured it, with its loader and its libraries, each a sealed memory file: no path decides what it is
//! made of.
//!
//! The loader is executed rather than the program, which would have the kernel take the loader that lies on disk. Libraries are
//! preloaded: one that is loaded already satisfies whoever names it (ld.so(8)).

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use bartizan_local::measured::{Handed, NotHanded, loaders_arguments};
use serde::{Deserialize, Serialize};

use crate::qemu::process::inherited;

/// The numbers of the descriptors that a program is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredProgram {
    program: RawFd,
    loader: RawFd,
    libraries: Vec<RawFd>,
}

/// How a program is executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Execution {
    /// What is executed.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

impl MeasuredProgram {
    /// One that was handed to this process: `NAME`, `NAME/loader`, `NAME/lib/…`.
    pub fn handed(handed: &Handed, name: &str) -> Result<Self, NotHanded> {
        let library = |(part, number): (&str, RawFd)| part.starts_with("lib/").then_some(number);
        Ok(Self {
            program: handed.number(name)?,
            loader: handed.number(&format!("{name}/loader"))?,
            libraries: handed.beneath(name).filter_map(library).collect(),
        })
    }

    /// The same; `None` where it was handed over without a loader: it is linked statically, or its release would not have been signed.
    pub fn unless_static(handed: &Handed, name: &str) -> Result<Option<Self>, NotHanded> {
        match handed.number(&format!("{name}/loader")) {
            Ok(_) => Self::handed(handed, name).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// How it is executed, under the name that it goes by.
    #[must_use]
    pub fn execution(&self, name: &str) -> Execution {
        let libraries: Vec<_> = self.libraries.iter().copied().map(path).collect();
        Execution {
            program: path(self.loader).into(),
            arguments: loaders_arguments(name, path(self.program), &libraries),
        }
    }

    /// The descriptors that it must have.
    pub fn descriptors(&self) -> io::Result<Vec<BorrowedFd<'static>>> {
        let all = [&self.program].into_iter().chain(&self.libraries);
        all.map(|number| inherited(*number)).collect()
    }
}

impl Execution {
    /// A program as it lies on disk, or of one that is linked statically.
    #[must_use]
    pub fn of_path(program: &Path) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
        }
    }
}

/// The path of a descriptor in the process that has it.
pub(crate) fn path(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_a_path_on_disk() {
        let handed = Handed::from_text(
            "70=x\n71=x/loader\n72=x/lib/libc.so.6\n73=x/lib/libm.so.6\n74=xy/lib/libz.so",
        );
        let execution = MeasuredProgram::handed(&handed, "x")
            .unwrap()
            .execution("x");
        assert_eq!(execution.program, Path::new("/proc/self/fd/71"));
        let preloaded = "/proc/self/fd/72:/proc/self/fd/73";
        let expected = [
            "--inhibit-cache",
            "--preload",
            preloaded,
            "--argv0",
            "x",
            "/proc/self/fd/70",
        ];
        assert_eq!(execution.arguments, expected);
    }

    #[test]
    fn a_program_without_its_loader_is_not_whole() {
        let handed = Handed::from_text("70=x\n72=x/lib/libc.so.6");
        MeasuredProgram::handed(&handed, "x").unwrap_err();
        assert_eq!(MeasuredProgram::unless_static(&handed, "x"), Ok(None));
        let handed = Handed::from_text("71=x/loader");
        MeasuredProgram::unless_static(&handed, "x").unwrap_err();
    }
}
