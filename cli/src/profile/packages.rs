//! What a set of packages installs: ELF files and symbolic links, by path.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::Arc;

use tar::EntryType;

use super::archive::{self, ArchiveError};
use super::decompress;

/// Largest package file in bytes.
const MAX_DEB: usize = 1 << 30;
/// Most entries in one package.
const MAX_ENTRIES: usize = 200_000;
/// Most bytes of ELF files that are kept in all.
const MAX_KEPT: u64 = 1 << 30;
/// Longest path in bytes (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Most symbolic links on the way to one file (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// Directories that are links into `/usr` on a merged-`/usr` system, which Debian has been since bookworm.
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// A package cannot be read, or does not hold what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Larger than is read.
    #[error("a package of {size} bytes is larger than {MAX_DEB}")]
    TooLarge {
        /// The size in bytes.
        size: usize,
    },
    /// The outer archive is malformed.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    /// A compression that is not understood.
    #[error("the package's data is compressed as `{suffix}`; known are .gz, .xz, .zst and none")]
    Compression {
        /// The suffix of `data.tar`.
        suffix: String,
    },
    /// The content cannot be unpacked.
    #[error("the package cannot be unpacked: {0}")]
    Unpack(#[source] io::Error),
    /// Too many entries.
    #[error("the package has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// More ELF files than are kept.
    #[error("the packages hold more than {MAX_KEPT} bytes of programs and libraries")]
    TooMuchCode,
    /// A path that is not UTF-8 or too long, has control characters, or is the root directory.
    #[error("a path in the package is too long, not plain text, or no file's")]
    Path,
    /// Two packages install different things at one path, or one installs a link where another has a directory.
    #[error(
        "two packages install different files, links or directories at `{path}`; leave out the one that the guest has not"
    )]
    Conflict {
        /// The path.
        path: String,
    },
    /// There is no program or library at this path.
    #[error("no given package installs an ELF file at `{path}`")]
    NotFound {
        /// The path.
        path: String,
    },
    /// Symbolic links without end.
    #[error("`{path}` leads through more than {MAX_LINKS} symbolic links")]
    LinkLoop {
        /// The path.
        path: String,
    },
}

/// The ELF files and symbolic links of some packages. Everything else in them is passed over.
#[derive(Clone, Default, Debug)]
pub struct Packages {
    files: BTreeMap<String, Arc<[u8]>>,
    links: BTreeMap<String, String>,
    kept: u64,
}

impl Packages {
    /// Adds what a Debian package installs. Nothing is executed, nothing written.
    pub fn add_deb(&mut self, deb: &[u8]) -> Result<(), PackageError> {
        if deb.len() > MAX_DEB {
            return Err(PackageError::TooLarge { size: deb.len() });
        }
        let (suffix, packed) = archive::data_of(deb)?;
        let mut tar = tar::Archive::new(decompress::reader(suffix, packed)?);
        let entries = tar.entries().map_err(PackageError::Unpack)?;
        for (index, entry) in entries.enumerate() {
            if index >= MAX_ENTRIES {
                return Err(PackageError::TooManyEntries);
            }
            self.add_entry(entry.map_err(PackageError::Unpack)?)?;
        }
        Ok(())
    }

    /// Adds one file.
    pub fn add_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let path = installed(path.as_bytes())?;
        self.keep(path, bytes.into())
    }

    /// Adds one symbolic link.
    pub fn add_link(&mut self, path: &str, target: &str) -> Result<(), PackageError> {
        self.link(installed(path.as_bytes())?, plain(target.as_bytes())?)
    }

    /// The path at which the kernel will report the file: every symbolic link resolved.
    pub fn resolve(&self, path: &str) -> Result<String, PackageError> {
        let mut ahead: VecDeque<String> = parts(path).map(Into::into).collect();
        let mut here = String::new();
        let mut followed = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                here.truncate(here.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{here}/{part}");
            let target = match merged(&here, &part) {
                Some(target) => Some(target),
                None => self.links.get(&next).cloned(),
            };
            let Some(target) = target else {
                here = next;
                continue;
            };
            followed += 1;
            if followed > MAX_LINKS || ahead.len() > MAX_PATH {
                return Err(PackageError::LinkLoop { path: path.into() });
            }
            if target.starts_with('/') {
                here.clear();
            }
            for part in parts(&target).rev() {
                ahead.push_front(part.into());
            }
        }
        if self.files.contains_key(&here) {
            Ok(here)
        } else {
            Err(PackageError::NotFound { path: path.into() })
        }
    }

    /// The content of the file at a resolved path.
    pub fn bytes(&self, resolved: &str) -> Result<&[u8], PackageError> {
        self.files
            .get(resolved)
            .map(AsRef::as_ref)
            .ok_or_else(|| PackageError::NotFound {
                path: resolved.into(),
            })
    }

    fn add_entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), PackageError> {
        let kind = entry.header().entry_type();
        if !matches!(
            kind,
            EntryType::Regular | EntryType::Symlink | EntryType::Link
        ) {
            return Ok(());
        }
        let path_bytes = entry.path_bytes().into_owned();
        let path = installed(&path_bytes)?;
        if kind == EntryType::Regular {
            return match elf_content(&mut entry).map_err(PackageError::Unpack)? {
                Some(bytes) => self.keep(path, bytes.into()),
                None => Ok(()),
            };
        }
        let target = entry.link_name_bytes().ok_or(PackageError::Path)?;
        if kind == EntryType::Symlink && is_merged(&path_bytes) {
            // Debian's base-files ships the links of a merged `/usr`, which every path here has followed already.
        } else if kind == EntryType::Symlink {
            self.link(path, plain(&target)?)?;
        } else if let Some(bytes) = self.files.get(&installed(&target)?).cloned() {
            // A hard link: the same file by another name, whose content came before.
            self.keep(path, bytes)?;
        }
        Ok(())
    }

    fn keep(&mut self, path: String, bytes: Arc<[u8]>) -> Result<(), PackageError> {
        self.kept = self.kept.saturating_add(bytes.len() as u64);
        if self.kept > MAX_KEPT {
            return Err(PackageError::TooMuchCode);
        }
        let other = self.files.get(&path).is_some_and(|there| *there != bytes);
        if other || self.links.contains_key(&path) {
            return Err(PackageError::Conflict { path });
        }
        self.directories(&path)?;
        self.files.insert(path, bytes);
        Ok(())
    }

    /// A link goes before a file when a path is resolved, so that none may be where something else is: nor may it
    /// stand for a directory in which others install.
    fn link(&mut self, path: String, target: &str) -> Result<(), PackageError> {
        let other = self.links.get(&path).is_some_and(|there| there != target);
        let within = format!("{path}/");
        let is_directory = holds(&self.files, &within) || holds(&self.links, &within);
        if other || is_directory || self.files.contains_key(&path) {
            return Err(PackageError::Conflict { path });
        }
        self.directories(&path)?;
        self.links.insert(path, target.to_owned());
        Ok(())
    }

    /// Fails where a directory on the way to `path` is a link.
    fn directories(&self, path: &str) -> Result<(), PackageError> {
        let mut way = path;
        while let Some((directory, _)) = way.rsplit_once('/') {
            if self.links.contains_key(directory) {
                let path = directory.into();
                return Err(PackageError::Conflict { path });
            }
            way = directory;
        }
        Ok(())
    }
}

/// Whether any path begins so.
fn holds<T>(paths: &BTreeMap<String, T>, prefix: &str) -> bool {
    let mut from_there = paths.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
    from_there
        .next()
        .is_some_and(|(path, _)| path.starts_with(prefix))
}

/// The content of an entry that is an ELF file.
fn elf_content(entry: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    entry.take(4).read_to_end(&mut bytes)?;
    if bytes != b"\x7fELF" {
        return Ok(None);
    }
    entry.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The path at which an entry's name is installed on a merged-`/usr` system.
fn installed(name: &[u8]) -> Result<String, PackageError> {
    let mut path = String::new();
    for part in parts(plain(name)?) {
        if part == ".." {
            return Err(PackageError::Path);
        }
        if let Some(target) = merged(&path, part) {
            path = target;
        } else {
            path.push('/');
            path.push_str(part);
        }
    }
    // A file in the place of the root directory has no path at all.
    if path.is_empty() {
        return Err(PackageError::Path);
    }
    Ok(path)
}

/// Where a top-level directory leads on a merged-`/usr` system.
fn merged(directory: &str, part: &str) -> Option<String> {
    (directory.is_empty() && MERGED.contains(&part)).then(|| format!("/usr/{part}"))
}

/// Whether an entry's name is that of a top-level directory which is a link on a merged-`/usr` system.
fn is_merged(name: &[u8]) -> bool {
    let Ok(name) = plain(name) else { return false };
    let mut parts = parts(name);
    parts.next().is_some_and(|part| MERGED.contains(&part)) && parts.next().is_none()
}

fn plain(name: &[u8]) -> Result<&str, PackageError> {
    std::str::from_utf8(name)
        .ok()
        .filter(|name| name.len() <= MAX_PATH && !name.chars().any(char::is_control))
        .ok_or(PackageError::Path)
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}
