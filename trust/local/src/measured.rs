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

/// The path of a measured file in this process; any other path is left as it is.
pub fn resolve(path: &Path) -> Result<PathBuf, NotHanded> {
    let handed = env::var(VARIABLE).unwrap_or_default();
    resolve_among(path, &handed)
}

fn resolve_among(path: &Path, handed: &str) -> Result<PathBuf, NotHanded> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(PREFIX)) else {
        return Ok(path.into());
    };
    let number = handed.lines().find_map(|line| {
        let (number, of) = line.split_once('=')?;
        (of == name).then(|| number.parse::<u32>().ok())?
    });
    match number {
        Some(number) => Ok(format!("/proc/self/fd/{number}").into()),
        None => Err(NotHanded(name.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_file_is_found_by_its_whole_name() {
        let handed = "7=qemu\n12=qemu/lib/libc.so.6\nx=broken";
        let resolve = |path: &str| resolve_among(path.as_ref(), handed);
        assert_eq!(resolve("measured:qemu"), Ok("/proc/self/fd/7".into()));
        let library = resolve("measured:qemu/lib/libc.so.6");
        assert_eq!(library, Ok("/proc/self/fd/12".into()));
        assert_eq!(resolve("/usr/bin/qemu"), Ok("/usr/bin/qemu".into()));
        for absent in ["measured:", "measured:qem", "measured:broken"] {
            resolve(absent).unwrap_err();
        }
    }
}
