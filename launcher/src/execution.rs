//! How a program is executed: by its own loader, with its own libraries, where these were measured with it (`NAME/loader`,
//! `NAME/lib/SONAME`), so that nothing of it comes from a disk; else by itself, as one that is linked statically is.
//!
//! Executed by itself the kernel would take the loader that lies on disk, and that one the libraries. A library that is preloaded
//! satisfies whoever names it later (ld.so(8)).

use std::os::fd::OwnedFd;

use bartizan_local::measured::loaders_arguments;

use crate::family::Files;
use crate::measured::Measured;

/// What is executed.
#[derive(Debug)]
pub struct Execution<'f> {
    /// Its path.
    pub path: String,
    /// Its arguments before the program's own.
    pub arguments: Vec<String>,
    /// What it must find under the numbers that they have here.
    pub files: Vec<&'f OwnedFd>,
}

impl<'f> Execution<'f> {
    /// Of a program that was measured; `None` if it was not.
    #[must_use]
    pub fn of(files: &'f Files, name: &str) -> Option<Self> {
        let program = files.get(name)?;
        let Some(loader) = files.get(&format!("{name}/loader")) else {
            return Some(Self {
                path: program.path(),
                arguments: Vec::new(),
                files: Vec::new(),
            });
        };
        let libraries = libraries(files, name);
        let paths: Vec<_> = libraries.iter().map(|library| library.path()).collect();
        let arguments = loaders_arguments(name, program.path(), &paths);
        let files = [program].into_iter().chain(libraries);
        Some(Self {
            path: loader.path(),
            arguments,
            files: files.map(Measured::descriptor).collect(),
        })
    }
}

fn libraries<'f>(files: &'f Files, name: &str) -> Vec<&'f Measured> {
    let beneath = format!("{name}/lib/");
    let named = files.range(beneath.clone()..);
    named
        .take_while(|(file, _)| file.starts_with(&beneath))
        .map(|(_, library)| library)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn measured(files: &[(&str, &str)]) -> Files {
        let measure = |(name, path): &(&str, &str)| {
            let measured = Measured::file(name, Path::new(path)).unwrap();
            ((*name).to_owned(), measured)
        };
        files.iter().map(measure).collect()
    }

    #[test]
    fn a_program_alone_is_executed_by_itself() {
        let files = measured(&[("true", "/bin/true"), ("true-2/loader", "/bin/false")]);
        let execution = Execution::of(&files, "true").unwrap();
        assert_eq!(execution.path, files["true"].path());
        assert!(execution.arguments.is_empty() && execution.files.is_empty());
        assert!(Execution::of(&files, "false").is_none());
    }

    #[test]
    fn a_program_runs_by_what_was_measured_of_it() {
        let (loader, library) = (
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/libc.so.6",
        );
        let files = measured(&[
            ("cat", "/bin/cat"),
            ("cat/loader", loader),
            ("cat/lib/libc.so.6", library),
            ("cat2/lib/libc.so.6", library),
        ]);
        let execution = Execution::of(&files, "cat").unwrap();
        for file in &execution.files {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
        }
        assert_eq!(execution.files.len(), 2);
        let output = Command::new(execution.path)
            .args(execution.arguments)
            .arg("/proc/self/maps")
            .output()
            .unwrap();
        let maps = String::from_utf8(output.stdout).unwrap();
        // Nothing that is executed came from a disk.
        let executed = maps.lines().filter(|line| line.contains(" r-xp "));
        let from: Vec<_> = executed
            .filter_map(|line| line.split_whitespace().nth(5))
            .collect();
        assert!(from.len() >= 3, "{maps}");
        for path in from {
            assert!(
                path == "[vdso]" || path.starts_with("/memfd:measured/cat"),
                "{path}"
            );
        }
    }
}
