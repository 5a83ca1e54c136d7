//! Boot counters: how often each VM was booted on this card. Part of a guest's identity, so a number is on disk
//! before anybody is told it, and is never told twice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::durable;

/// The counters, a file each, named by the VM's UUID in hexadecimal.
#[derive(Debug)]
pub struct Boots {
    folder: PathBuf,
    /// One count at a time.
    counting: Mutex<()>,
}

/// A counter could not be advanced.
#[derive(Debug, thiserror::Error)]
pub enum BootsError {
    /// The file cannot be read or written.
    #[error("boot counter {path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no number.
    #[error("boot counter {path} is damaged; restore it from a backup, with a higher number than was ever used", path = .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

impl Boots {
    /// The counters in a folder.
    pub fn open(state_dir: &Path) -> Result<Self, BootsError> {
        let folder = state_dir.join("boots");
        // A card that is confined already makes no folder any more.
        if !folder.is_dir() {
            fs::create_dir_all(&folder).map_err(|source| BootsError::File {
                path: folder.clone(),
                source,
            })?;
        }
        Ok(Self {
            folder,
            counting: Mutex::default(),
        })
    }

    /// Counts one more boot of a VM and answers its number, from 1 on.
    pub fn next(&self, vm: [u8; 16]) -> Result<u64, BootsError> {
        let _one_at_a_time = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(vm);
        let next = read(&path)?
            .checked_add(1)
            .ok_or_else(|| BootsError::Damaged { path: path.clone() })?;
        durable::replace(&path, format!("{next}\n").as_bytes()).map_err(|source| {
            BootsError::File {
                path: path.clone(),
                source,
            }
        })?;
        Ok(next)
    }

    /// The number of a VM's latest boot; 0 before the first.
    pub fn latest(&self, vm: [u8; 16]) -> Result<u64, BootsError> {
        read(&self.path(vm))
    }

    fn path(&self, vm: [u8; 16]) -> PathBuf {
        let name: String = vm.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name)
    }
}

fn read(path: &Path) -> Result<u64, BootsError> {
    match fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| BootsError::Damaged { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(BootsError::File {
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_up_across_restarts_and_are_each_vms_own() {
        let folder = tempfile::tempdir().unwrap();
        let boots = Boots::open(folder.path()).unwrap();
        assert_eq!(boots.next([1; 16]).unwrap(), 1);
        assert_eq!(boots.next([1; 16]).unwrap(), 2);
        assert_eq!(boots.next([2; 16]).unwrap(), 1);
        let again = Boots::open(folder.path()).unwrap();
        assert_eq!(again.next([1; 16]).unwrap(), 3);
        assert_eq!(
            (
                again.latest([1; 16]).unwrap(),
                again.latest([9; 16]).unwrap()
            ),
            (3, 0)
        );
    }

    #[test]
    fn a_damaged_counter_is_not_taken_for_zero() {
        let folder = tempfile::tempdir().unwrap();
        let boots = Boots::open(folder.path()).unwrap();
        boots.next([1; 16]).unwrap();
        fs::write(folder.path().join("boots").join("01".repeat(16)), "").unwrap();
        assert!(matches!(
            boots.next([1; 16]),
            Err(BootsError::Damaged { .. })
        ));
    }
}
