//! Small files that are replaced or removed as a whole, and stay so through a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file: a crash leaves the old one or the new one.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Of each file its own: others may be replaced beside it, by another process.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&partial)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // The rename itself must be durable too.
    sync_folder_of(path)
}

/// Makes an empty file; one that is there stays.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?;
    sync_folder_of(path)
}

/// Removes a file; one that is not there is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_folder_of(path),
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
