//! The control group with the limits of one guest's processes (cgroups(7)): version 2, or version 1's controllers.
//!
//! The group is made under the daemon's own, so that a limit on that one holds for every guest. In version 2 a group either
//! has processes or shares its controllers out to groups beneath it ("no internal processes" in cgroup-v2.rst): the daemon
//! moves itself and its supervisors into a leaf first.
//!
//! ```text
//! version 1                              version 2
//! GROUP                daemon, supervisors    GROUP
//!  └ bartizan-CARD-VM-BOOT                     ├ bartizan-daemon         daemon, supervisors
//!      QEMU, measurer                          └ bartizan-CARD-VM-BOOT   QEMU, measurer
//! ```

mod controllers;
mod leaf;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bartizan_attestation::identity::GuestIdentity;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use controllers::{Controller, Place, places};
pub use leaf::settle;

/// What a guest's processes may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory beyond the guest's RAM and its measurer's, in MiB: QEMU's own, and its translations under TCG.
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

/// A guest's limits cannot be set.
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

/// A control group: removed when it is dropped, by when its processes must have ended.
#[derive(Debug)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a guest's group with limits, `memory` bytes beside `overhead_mib` among these. Where a limit cannot be set,
    /// that is an error, or logged if limits are optional.
    ///
    /// Empty groups of other boots of the VM, left by a supervisor that was killed, are removed.
    pub fn create(guest: &GuestIdentity, memory: u64, limits: Limits) -> Result<Self, CgroupError> {
        Self::beneath(own_places(), guest, memory, limits)
    }

    fn beneath(
        places: Vec<(Controller, Option<Place>)>,
        guest: &GuestIdentity,
        memory: u64,
        limits: Limits,
    ) -> Result<Self, CgroupError> {
        let (vm, name) = names(guest);
        let mut group = Self {
            folders: Vec::new(),
        };
        for (controller, place) in places {
            let done = match place {
                Some(place) => {
                    remove_leftovers(&place, &vm, &name);
                    group.limit(&name, controller, &place, memory, limits)
                }
                None => Err(CgroupError::Absent(controller)),
            };
            match done {
                Err(error) if limits.optional => {
                    tracing::warn!(?controller, %error, "the guest runs without this limit");
                }
                done => done?,
            }
        }
        Ok(group)
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

    fn limit(
        &mut self,
        name: &str,
        controller: Controller,
        place: &Place,
        memory: u64,
        limits: Limits,
    ) -> Result<(), CgroupError> {
        let folder = place.folder.join(name);
        if place.unified {
            leaf::share_out(controller, &place.folder)?;
        }
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(&folder)(error));
            }
            _ => {}
        }
        if !self.folders.contains(&folder) {
            self.folders.push(folder.clone());
        }
        for (file, value) in controller.settings(place.unified, memory, limits) {
            let path = folder.join(file);
            fs::write(&path, value).map_err(failed(&path))?;
        }
        Ok(())
    }
}

/// How groups of a VM's boots begin, and this boot's. Of a card too: another host on the same machine may have the same VM.
fn names(guest: &GuestIdentity) -> (String, String) {
    let card: String = guest.card.to_string().chars().take(16).collect();
    let vm = format!("bartizan-{card}-{}-", Uuid::from_bytes(guest.vm));
    let name = format!("{vm}{}", guest.boot);
    (vm, name)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CgroupError + use<> {
    let path = path.to_owned();
    |source| CgroupError::Io { path, source }
}

/// The folders of the groups in which [`Cgroup::create`] makes others.
pub(crate) fn folders() -> Vec<PathBuf> {
    let places = own_places().into_iter();
    let folders = places.filter_map(|(_, place)| place.map(|place| place.folder));
    let mut folders: Vec<_> = folders.collect();
    folders.dedup();
    folders
}

fn own_places() -> Vec<(Controller, Option<Place>)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let places = places(&mounts, &membership).into_iter();
    let above_leaf = |(controller, place): (_, Option<Place>)| (controller, place.map(leaf::above));
    places.map(above_leaf).collect()
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            if let Err(error) = fs::remove_dir(folder) {
                tracing::warn!(folder = %folder.display(), %error, "control group left behind");
            }
        }
    }
}

/// A group in use cannot be removed: trying all is safe.
fn remove_leftovers(place: &Place, vm: &str, name: &str) {
    let Ok(entries) = fs::read_dir(&place.folder) else {
        return;
    };
    let other = |entry: &fs::DirEntry| {
        let found = entry.file_name();
        found
            .to_str()
            .is_some_and(|found| found.starts_with(vm) && found != name)
    };
    for entry in entries.filter_map(Result::ok).filter(other) {
        let _ = fs::remove_dir(entry.path());
    }
}

#[cfg(test)]
mod tests;
