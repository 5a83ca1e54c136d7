//! The control group of one boot's processes (cgroups(7)): version 2, or version 1's controllers. It has their limits, and
//! tells who they are, whatever these do: none of them may write to a group. The enclave's QEMU has one, too.
//!
//! The daemon makes it under its own, so that a limit on that one holds for every guest; so does the keeper. In version 2 a group
//! either has processes or shares its controllers out to groups beneath it ("no internal processes" in cgroup-v2.rst): either
//! moves itself into a leaf first.
//!
//! ```text
//! version 1                                        version 2
//! GROUP                          daemon            GROUP
//!  └ bartizan-CARD-VM-BOOT                          ├ bartizan-daemon         daemon
//!      supervisor, QEMU, measurer                   └ bartizan-CARD-VM-BOOT   supervisor, QEMU, measurer
//!
//! GROUP                          keeper            GROUP
//!  └ bartizan-enclave-HOST-RUN                      ├ bartizan-daemon            keeper
//!      QEMU                                         └ bartizan-enclave-HOST-RUN  QEMU
//! ```
//!
//! Where version 2 has no controller, since version 1 has them, a group in it still ends all of its processes at once.

mod bounds;
mod controllers;
mod kill;
mod leaf;
mod name;
mod usage;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bartizan_attestation::identity::GuestIdentity;
use serde::{Deserialize, Serialize};

pub use bounds::{Bounds, Cpu};
use controllers::SWAP;
pub use controllers::{Controller, Place, places};
pub use leaf::settle;
pub use name::Name;
pub use usage::Used;

/// What a guest's processes may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory beyond the guest's RAM, its images and its measurer's, in MiB: the supervisor's and QEMU's own, and QEMU's
    /// translations under TCG.
    pub overhead_mib: u64,
    /// Most threads.
    pub threads: u32,
    /// CPU weight (cgroup v2), 1 to 10 000; 100 is everybody's.
    pub cpu_weight: u32,
    /// Whether a guest may be started without a limit that this host cannot set.
    pub optional: bool,
}

impl Default for Limits {
    fn default() -> Self {
        // TCG's translation cache alone takes up to 1 GiB (`tb-size` in accel/tcg/region.c).
        Self {
            overhead_mib: 1536,
            threads: 256,
            cpu_weight: 100,
            optional: false,
        }
    }
}

impl Limits {
    /// A group's bounds, by these limits and `memory` bytes beside `overhead_mib`.
    #[must_use]
    pub fn beside(self, memory: u64) -> Bounds {
        Bounds {
            memory: memory.saturating_add(self.overhead_mib.saturating_mul(1 << 20)),
            threads: self.threads,
            cpu: Cpu::Weight(self.cpu_weight),
            optional: self.optional,
        }
    }
}

/// A group's limits cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No control group has that controller.
    #[error(
        "this host offers no `{0}` controller to the daemon; delegate it (systemd: `Delegate=yes`), or set `limits.optional`"
    )]
    Absent(Controller),
    /// The daemon's group has other processes, which keep it from sharing controllers out.
    #[error(
        "{folder} cannot share its `{controller}` controller out, since processes are in it; start the daemon in a group of its own (systemd: `Delegate=yes`, `DelegateSubgroup=bartizan-daemon`), or set `limits.optional`",
        folder = .folder.display()
    )]
    Occupied {
        /// The controller.
        controller: Controller,
        /// The daemon's group.
        folder: PathBuf,
    },
    /// A file of a group cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A control group, by its folders: none where limits are optional and no group can be made.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a boot's group with limits, `memory` bytes beside `overhead_mib` among these, as [`Self::named`] does.
    pub fn create(guest: &GuestIdentity, memory: u64, limits: Limits) -> Result<Self, CgroupError> {
        Self::named(&Name::of_guest(guest), limits.beside(memory))
    }

    /// Makes a group with bounds. Where one cannot be set, that is an error, or logged if they are optional.
    ///
    /// Empty groups of the name's family are removed.
    pub fn named(name: &Name, bounds: Bounds) -> Result<Self, CgroupError> {
        let group = Self::beneath(own_places(), name, bounds)?;
        Ok(group.also_in(own_unified(), name))
    }

    /// All groups of a name's family, as one: none of which need be there any more when it is used. For who makes one at a time.
    #[must_use]
    pub fn family(name: &Name) -> Self {
        let places = folders();
        let others = places.iter().flat_map(|place| name.others(place));
        Self {
            folders: others.collect(),
        }
    }

    fn beneath(
        places: Vec<(Controller, Option<Place>)>,
        name: &Name,
        bounds: Bounds,
    ) -> Result<Self, CgroupError> {
        let mut group = Self::default();
        for (controller, place) in places {
            let done = match place {
                Some(place) => {
                    remove_leftovers(&place, name);
                    group.limit(name, controller, &place, bounds)
                }
                None => Err(CgroupError::Absent(controller)),
            };
            match done {
                Err(error) if bounds.optional => {
                    tracing::warn!(group = %name, ?controller, %error, "this limit is not set");
                }
                done => done?,
            }
        }
        Ok(group)
    }

    /// With a folder in version 2 without a limit, where there is none: `cgroup.kill` is there alone.
    fn also_in(mut self, place: Option<Place>, name: &Name) -> Self {
        let Some(place) = place else { return self };
        remove_leftovers(&place, name);
        if let Err(error) = self.folder(&place.folder.join(name.own())) {
            tracing::debug!(%error, "no group of version 2");
        }
        self
    }

    /// `cgroup.procs` of each folder, open for writing.
    pub fn process_files(&self) -> io::Result<Vec<File>> {
        let open = |folder: &PathBuf| {
            File::options()
                .write(true)
                .open(folder.join("cgroup.procs"))
        };
        self.folders.iter().map(open).collect()
    }

    /// What is used in it, as far as the kernel says.
    #[must_use]
    pub fn used(&self) -> Used {
        usage::of(&self.folders)
    }

    /// The folders in which it was made.
    pub(crate) fn above(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().filter_map(|folder| folder.parent())
    }

    /// Whether it tells who is in it: there is one.
    pub fn tells(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Whether nobody is in it, or it is gone.
    pub fn is_empty(&self) -> Result<bool, CgroupError> {
        let mut empty = true;
        for folder in &self.folders {
            empty &= kill::is_empty(folder).map_err(failed(folder))?;
        }
        Ok(empty)
    }

    /// Kills all that is in it, and removes it once that has ended. Whether it is gone.
    pub fn end(&self) -> Result<bool, CgroupError> {
        let mut gone = true;
        for folder in &self.folders {
            gone &= kill::all_in(folder).map_err(failed(folder))?;
        }
        if gone {
            self.remove();
        }
        Ok(gone)
    }

    /// What keeps a folder is an ended process that nobody has waited for yet: the family's next group removes it.
    fn remove(&self) {
        for folder in &self.folders {
            match fs::remove_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(folder = %folder.display(), %error, "control group left behind");
                }
                _ => {}
            }
        }
    }

    fn folder(&mut self, folder: &Path) -> Result<(), CgroupError> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(folder)(error));
            }
            _ => {}
        }
        if self.folders.iter().all(|known| known != folder) {
            self.folders.push(folder.to_owned());
        }
        Ok(())
    }

    fn limit(
        &mut self,
        name: &Name,
        controller: Controller,
        place: &Place,
        bounds: Bounds,
    ) -> Result<(), CgroupError> {
        let folder = place.folder.join(name.own());
        if place.unified {
            leaf::share_out(controller, &place.folder)?;
        }
        self.folder(&folder)?;
        for (file, value) in controller.settings(place.unified, bounds) {
            let path = folder.join(file);
            match write(&path, &value) {
                // A kernel that never swaps has no such file.
                Err(error) if SWAP.contains(&file) && error.kind() == io::ErrorKind::NotFound => {}
                written => written.map_err(failed(&path))?,
            }
        }
        Ok(())
    }
}

/// Writes to a file of a group's. One that the kernel does not offer is not found: to make one is not permitted.
fn write(path: &Path, value: &str) -> io::Result<()> {
    File::options()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CgroupError + use<> {
    let path = path.to_owned();
    |source| CgroupError::Io { path, source }
}

/// The folders of the groups in which [`Cgroup::create`] makes others.
pub(crate) fn folders() -> Vec<PathBuf> {
    let places = own_places().into_iter().filter_map(|(_, place)| place);
    let folders: BTreeSet<_> = (places.chain(own_unified()))
        .map(|place| place.folder)
        .collect();
    folders.into_iter().collect()
}

fn own_places() -> Vec<(Controller, Option<Place>)> {
    let (mounts, membership) = own_texts();
    let places = places(&mounts, &membership).into_iter();
    let above_leaf = |(controller, place): (_, Option<Place>)| (controller, place.map(leaf::above));
    places.map(above_leaf).collect()
}

fn own_unified() -> Option<Place> {
    let (mounts, membership) = own_texts();
    controllers::unified(&mounts, &membership).map(leaf::above)
}

fn own_texts() -> (String, String) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    (mounts, membership)
}

/// A group in use cannot be removed: trying all is safe.
fn remove_leftovers(place: &Place, name: &Name) {
    for folder in name.others(&place.folder) {
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests;
