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
    let mut way = Way::from(view, layout, file)?;
    let KnownPath {
        components,
        reachable,
    } = way.climb()?;
    let mut path = Vec::new();
    for name in components.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    let path = String::from_utf8_lossy(&path);
    let (before, after) = (
        if reachable { "" } else { "(unreachable)" },
        if way.deleted { " (deleted)" } else { "" },
    );
    Ok(format!("{before}{path}{after}"))
}

/// The path of one file, to compare others with.
pub(super) struct KnownPath {
    /// The last one first.
    components: Vec<Vec<u8>>,
    reachable: bool,
}

impl KnownPath {
    /// Mounts that another way to the same path may cross beyond those that its names account for.
    const MAX_MOUNTS: usize = 16;

    pub(super) fn of(
        view: &impl KernelView,
        layout: &PathLayout,
        file: u64,
    ) -> Result<Self, ProcessError> {
        Way::from(view, layout, file)?.climb()
    }

    /// Whether another file has, or had before it was deleted, this path. The walk ends at the first name that
    /// differs: what a stranger's path is like costs no more steps than this one has.
    pub(super) fn is_of(
        &self,
        view: &impl KernelView,
        layout: &PathLayout,
        file: u64,
    ) -> Result<bool, ProcessError> {
        let mut way = Way::from(view, layout, file)?;
        let mut due = self.components.iter();
        for _ in 0..=self.components.len() + Self::MAX_MOUNTS {
            match way.step() {
                Ok(Step::Name(name)) if due.next() == Some(&name) => {}
                // A name beyond the reader's bounds is none of ours.
                Ok(Step::Name(_)) | Err(ProcessError::TooMany { .. }) => return Ok(false),
                Ok(Step::Mount) => {}
                Ok(Step::Root { reachable }) => {
                    return Ok(due.next().is_none() && reachable == self.reachable);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// The way from an open file up to the root of its mount namespace.
struct Way<'a, V> {
    view: &'a V,
    layout: &'a PathLayout,
    mount: Mount,
    entry: Dentry,
    /// `d_unlinked()`: unhashed and not the root of its file system.
    deleted: bool,
    /// At the root of a file system that its mount does not show: what is left is this end.
    lost: bool,
}

/// One step of the way.
enum Step {
    /// A component of the path.
    Name(Vec<u8>),
    /// Over to the mount below.
    Mount,
    /// The end.
    Root { reachable: bool },
}

impl<'a, V: KernelView> Way<'a, V> {
    fn from(view: &'a V, layout: &'a PathLayout, file: u64) -> Result<Self, ProcessError> {
        let vfsmount = read_u64(view, "file", file.wrapping_add(layout.file_mount))?;
        let dentry = read_u64(view, "file", file.wrapping_add(layout.file_dentry))?;
        let mount = Mount::read(view, layout, vfsmount.wrapping_sub(layout.mount_vfsmount))?;
        let entry = Dentry::read(view, layout, dentry)?;
        Ok(Self {
            deleted: entry.unhashed && entry.parent != entry.address,
            view,
            layout,
            mount,
            entry,
            lost: false,
        })
    }

    /// All of it, within the longest path that a file can have.
    fn climb(&mut self) -> Result<KnownPath, ProcessError> {
        let mut components = Vec::new();
        let mut bytes = 0_usize;
        for _ in 0..MAX_STEPS {
            match self.step()? {
                Step::Mount => {}
                Step::Root { reachable } => {
                    return Ok(KnownPath {
                        components,
                        reachable,
                    });
                }
                Step::Name(name) => {
                    bytes = bytes.saturating_add(1).saturating_add(name.len());
                    if bytes > MAX_PATH {
                        return Err(too_many("bytes in a path", MAX_PATH));
                    }
                    components.push(name);
                }
            }
        }
        Err(too_many("steps from a file to its root", MAX_STEPS))
    }

    fn step(&mut self) -> Result<Step, ProcessError> {
        if self.lost {
            return Ok(Step::Root { reachable: false });
        }
        if self.entry.address == self.mount.root {
            if self.mount.parent == self.mount.address {
                let reachable = is_namespace(self.mount.namespace);
                return Ok(Step::Root { reachable });
            }
            self.entry = Dentry::read(self.view, self.layout, self.mount.mountpoint)?;
            self.mount = Mount::read(self.view, self.layout, self.mount.parent)?;
            return Ok(Step::Mount);
        }
        let name = self.entry.name(self.view)?;
        if self.entry.parent == self.entry.address {
            self.lost = true;
        } else {
            self.entry = Dentry::read(self.view, self.layout, self.entry.parent)?;
        }
        Ok(Step::Name(name))
    }
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
            return Err(too_many("bytes in a path", MAX_PATH));
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

const fn too_many(what: &'static str, limit: usize) -> ProcessError {
    ProcessError::TooMany { what, limit }
}
