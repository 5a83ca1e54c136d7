//! Files that a launcher measured and handed to a program: as descriptors, which nobody can swap.
//!
//! A configuration names one as `measured:NAME` where else it names a path.

use std::env;
use std::path::{Path, PathBuf};

/// The variable that says which descriptor is which file: `NUMBER=NAME`, one a line.
pub const VARIABLE: &str = "BARTIZAN_MEASURED_FILES";

/// What such a path begins with.
const PREFIX: &str = "measured:";

/// A file that a configuration names was not handed to this process.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{PREFIX}{0}` is named, and no such file was handed to this process; have its release's `inherits` name it"
)]
pub struct NotHanded(String);

/// What was handed to a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handed(String);

impl Handed {
    /// To this process.
    #[must_use]
    pub fn to_this_process() -> Self {
        Self(env::var(VARIABLE).unwrap_or_default())
    }

    /// As the variable says it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The name in a path `measured:NAME`.
    #[must_use]
    pub fn name(path: &Path) -> Option<&str> {
        path.to_str()?.strip_prefix(PREFIX)
    }

    /// The number of a file's descriptor.
    pub fn number(&self, name: &str) -> Result<i32, NotHanded> {
        let mut all = self.all();
        let found = all.find(|(of, _)| *of == name);
        found
            .map(|(_, number)| number)
            .ok_or_else(|| NotHanded(name.into()))
    }

    /// The files of all names `NAME/REST`: the rest, and their numbers.
    pub fn beneath<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (&'s str, i32)> {
        self.all().filter_map(move |(of, number)| {
            let rest = of.strip_prefix(name)?.strip_prefix('/')?;
            Some((rest, number))
        })
    }

    /// The path of a measured file in the process that has it; any other path is left as it is.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, NotHanded> {
        match Self::name(path) {
            Some(name) => Ok(format!("/proc/self/fd/{}", self.number(name)?).into()),
            None => Ok(path.into()),
        }
    }

    fn all(&self) -> impl Iterator<Item = (&str, i32)> {
        self.0.lines().filter_map(|line| {
            let (number, name) = line.split_once('=')?;
            Some((name, number.parse().ok()?))
        })
    }
}

/// The arguments by which a loader executes a program under a name, with libraries preloaded (ld.so(8)): one that is loaded already
/// satisfies whoever names it. All are paths.
#[must_use]
pub fn loaders_arguments(name: &str, program: String, libraries: &[String]) -> Vec<String> {
    let mut arguments = vec!["--inhibit-cache".to_owned()];
    if !libraries.is_empty() {
        arguments.extend(["--preload".to_owned(), libraries.join(":")]);
    }
    arguments.extend(["--argv0".to_owned(), name.to_owned(), program]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_file_is_found_by_its_whole_name() {
        let handed = Handed::from_text("7=qemu\n12=qemu/lib/libc.so.6\nx=broken\n13=qemu-img");
        let resolve = |path: &str| handed.resolve(path.as_ref());
        assert_eq!(resolve("measured:qemu"), Ok("/proc/self/fd/7".into()));
        let library = resolve("measured:qemu/lib/libc.so.6");
        assert_eq!(library, Ok("/proc/self/fd/12".into()));
        assert_eq!(resolve("/usr/bin/qemu"), Ok("/usr/bin/qemu".into()));
        for absent in ["measured:", "measured:qem", "measured:broken"] {
            resolve(absent).unwrap_err();
        }
        let beneath: Vec<_> = handed.beneath("qemu").collect();
        assert_eq!(beneath, [("lib/libc.so.6", 12)]);
    }
}
