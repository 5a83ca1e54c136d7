//! The path of an open file, from the root of its mount namespace (`prepend_path()`, `fs/d_path.c`).
//!
//! Two things keep another file from being taken for the one that a path names. A file that was deleted
//! or replaced since it was opened ends in ` (deleted)`; one that is reachable from no mount namespace
//! (`memfd_create`, a lazily unmounted file system) begins with `(unreachable)` and not with `/`.
//! What is mounted where is up to the guest's root, so that a path alone proves no content.

use super::ProcessError;
use super::layout::{PathLayout, RECORD};
use super::view::{KernelView, Record, read_bytes, read_u64};

/// Longest path in bytes (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Most steps, over names and mounts: twice what `MAX_PATH` allows names.
const MAX_STEPS: usize = MAX_PATH;

/// The path of the `struct file` at `file`, lossy UTF-8.
pub(super) fn path_of(
    view: &impl KernelView,
    layout: &PathLayout,
    file: u64,
) -> Result<String, ProcessError> {
    let vfsmount = read_u64(view, "file", file.wrapping_add(layout.file_mount))?;
    let dentry = read_u64(view, "file", file.wrapping_add(layout.file_dentry))?;
    let mut mount = Mount::read(view, layout, vfsmount.wrapping_sub(layout.mount_vfsmount))?;
    let mut entry = Dentry::read(view, layout, dentry)?;
    // d_unlinked(): unhashed and not the root of its file system.
    let deleted = entry.unhashed && entry.parent != entry.address;

    let mut reversed = Reversed::default();
    for _ in 0..MAX_STEPS {
        if entry.address == mount.root {
            if mount.parent == mount.address {
                return Ok(reversed.finish(is_namespace(mount.namespace), deleted));
            }
            entry = Dentry::read(view, layout, mount.mountpoint)?;
            mount = Mount::read(view, layout, mount.parent)?;
        } else if entry.parent == entry.address {
            // The root of a file system that this mount does not show.
            reversed.push(&entry.name(view)?)?;
            return Ok(reversed.finish(false, deleted));
        } else {
            reversed.push(&entry.name(view)?)?;
            entry = Dentry::read(view, layout, entry.parent)?;
        }
    }
    Err(ProcessError::TooMany {
        what: "steps from a file to its root",
        limit: MAX_STEPS,
    })
}

/// A mount belongs to a namespace unless `mnt_ns` is null (unmounted) or an error value
/// (`MNT_NS_INTERNAL`, the kernel's own).
const fn is_namespace(namespace: u64) -> bool {
    const MAX_ERRNO: u64 = 4095;
    namespace != 0 && namespace < u64::MAX - MAX_ERRNO + 1
}

/// What a `struct dentry` says.
struct Dentry {
    address: u64,
    parent: u64,
    unhashed: bool,
    name: u64,
    name_length: u32,
}

impl Dentry {
    fn read(
        view: &impl KernelView,
        layout: &PathLayout,
        address: u64,
    ) -> Result<Self, ProcessError> {
        let record = Record::<RECORD>::read(view, "dentry", address, layout.dentry_size)?;
        Ok(Self {
            address,
            parent: record.u64(layout.dentry_parent),
            unhashed: record.u64(layout.dentry_unhashed) == 0,
            name: record.u64(layout.dentry_name),
            name_length: record.u32(layout.dentry_name_length),
        })
    }

    fn name(&self, view: &impl KernelView) -> Result<Vec<u8>, ProcessError> {
        let length = usize::try_from(self.name_length).unwrap_or(usize::MAX);
        if length > MAX_PATH {
            return Err(ProcessError::TooMany {
                what: "bytes in a path",
                limit: MAX_PATH,
            });
        }
        let mut name = vec![0; length];
        read_bytes(view, "dentry", self.name, &mut name)?;
        Ok(name)
    }
}

/// What a `struct mount` (`fs/mount.h`) says.
struct Mount {
    address: u64,
    root: u64,
    parent: u64,
    mountpoint: u64,
    namespace: u64,
}

impl Mount {
    fn read(
        view: &impl KernelView,
        layout: &PathLayout,
        address: u64,
    ) -> Result<Self, ProcessError> {
        let record = Record::<RECORD>::read(view, "mount", address, layout.mount_size)?;
        Ok(Self {
            address,
            root: record.u64(layout.mount_root),
            parent: record.u64(layout.mount_parent),
            mountpoint: record.u64(layout.mount_point),
            namespace: record.u64(layout.mount_namespace),
        })
    }
}

/// Path components, the last one first.
#[derive(Default)]
struct Reversed {
    components: Vec<Vec<u8>>,
    bytes: usize,
}

impl Reversed {
    fn push(&mut self, name: &[u8]) -> Result<(), ProcessError> {
        self.bytes = self.bytes.saturating_add(1).saturating_add(name.len());
        if self.bytes > MAX_PATH {
            return Err(ProcessError::TooMany {
                what: "bytes in a path",
                limit: MAX_PATH,
            });
        }
        self.components.push(name.to_vec());
        Ok(())
    }

    fn finish(self, reachable: bool, deleted: bool) -> String {
        let mut path = Vec::with_capacity(self.bytes);
        for name in self.components.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        let path = String::from_utf8_lossy(&path);
        let (before, after) = (
            if reachable { "" } else { "(unreachable)" },
            if deleted { " (deleted)" } else { "" },
        );
        format!("{before}{path}{after}")
    }
}
