//! What a component is made of beside its own file: a program's libraries, a folder's files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use object::LittleEndian;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::FileHeader;
use serde::Deserialize;

/// What else is measured with a component.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expand {
    /// The path is a dynamically linked program: its loader is `NAME/loader`, its libraries are `NAME/lib/SONAME`.
    Libraries,
}

/// It cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The loader cannot be run.
    #[error("{LOADER} cannot be run: {0}")]
    Loader(io::Error),
    /// The loader does not take it.
    #[error("{LOADER} --list {path}: {said}", path = .path.display())]
    NotDynamic {
        /// The program.
        path: PathBuf,
        /// What the loader said.
        said: String,
    },
    /// A library is not there.
    #[error("library {0} is not installed")]
    Missing(String),
    /// A path leads nowhere.
    #[error("{path}: {source}", path = .path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// So many bytes of a program have its headers, as linkers lay them out.
const HEAD: u64 = 1 << 16;
/// The x86-64 psABI's program interpreter.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// The further components of one, in the order of their names.
pub(super) fn expand(
    how: Expand,
    name: &str,
    path: &Path,
) -> Result<Vec<(String, PathBuf)>, ExpandError> {
    match how {
        Expand::Libraries => libraries(name, path),
    }
}

/// As the loader itself finds them on this machine.
fn libraries(name: &str, program: &Path) -> Result<Vec<(String, PathBuf)>, ExpandError> {
    let listed = Command::new(LOADER)
        .arg("--list")
        .arg(program)
        .env_clear()
        .output()
        .map_err(ExpandError::Loader)?;
    if !listed.status.success() {
        return Err(ExpandError::NotDynamic {
            path: program.into(),
            said: String::from_utf8_lossy(&listed.stderr).trim().into(),
        });
    }
    let mut parts = vec![(format!("{name}/loader"), real(Path::new(LOADER))?)];
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        // `libfoo.so.1 => /lib/x86_64-linux-gnu/libfoo.so.1 (0x…)`; the loader and the vDSO have no arrow.
        let Some((soname, found)) = line.trim().split_once(" => ") else {
            continue;
        };
        let Some((path, _address)) = found.rsplit_once(" (") else {
            return Err(ExpandError::Missing(soname.into()));
        };
        if soname.starts_with('/') {
            continue;
        }
        parts.push((format!("{name}/lib/{soname}"), real(Path::new(path))?));
    }
    parts.sort();
    parts.dedup();
    Ok(parts)
}

/// Whether a file is a program that the kernel executes by a loader (ELF's PT_INTERP).
pub(super) fn is_dynamic(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    let interpreted = || {
        let header = FileHeader64::<LittleEndian>::parse(&*head).ok()?;
        let segments = header.program_headers(header.endian().ok()?, &*head).ok()?;
        let mut kinds = segments
            .iter()
            .map(|segment| segment.p_type.get(LittleEndian));
        Some(kinds.any(|kind| kind == PT_INTERP))
    };
    Ok(interpreted().unwrap_or(false))
}

fn real(path: &Path) -> Result<PathBuf, ExpandError> {
    fs::canonicalize(path).map_err(|source| ExpandError::Path {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_listed_with_its_loader_and_libraries() {
        let parts = expand(Expand::Libraries, "sh", Path::new("/bin/sh")).unwrap();
        let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
        assert!(
            names.contains(&"sh/loader") && names.contains(&"sh/lib/libc.so.6"),
            "{names:?}"
        );
        assert!(parts.iter().all(|(_, path)| path.is_file()));
    }

    #[test]
    fn a_program_is_told_from_what_is_none() {
        for (path, expected) in [
            ("/bin/sh", true),
            ("/etc/passwd", false),
            ("/dev/null", false),
        ] {
            assert_eq!(is_dynamic(Path::new(path)).unwrap(), expected, "{path}");
        }
        assert!(is_dynamic(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let refused = expand(Expand::Libraries, "x", Path::new("/etc/passwd"));
        assert!(matches!(refused, Err(ExpandError::NotDynamic { .. })));
    }
}
