//! The control group with QEMU's limits (cgroups(7)): version 2, or version 1's controllers.
//!
//! The group is made under the supervisor's own, so that a limit on that one holds for every guest.

mod controllers;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use controllers::{Controller, Place, places};

/// What QEMU may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory beyond the guest's RAM, in MiB: QEMU's own, and its translations under TCG.
    pub overhead_mib: u64,
    /// Most threads.
    pub threads: u32,
    /// CPU weight (cgroup v2), 1 to 10 000; 100 is everybody's.
    pub cpu_weight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // TCG's translation cache alone takes up to 1 GiB (`tb-size` in accel/tcg/region.c).
        Self {
            overhead_mib: 1536,
            threads: 256,
            cpu_weight: 100,
        }
    }
}

/// A control group: removed when it is dropped, by when its processes must have ended.
#[derive(Debug)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the group `<vm><boot>` with limits for a guest of `ram` bytes. Where a controller is not
    /// there or not ours to use, that is logged and the guest runs without that limit.
    ///
    /// Empty groups of other boots of `vm`, left by a supervisor that was killed, are removed.
    #[must_use]
    pub fn create(vm: &str, boot: u64, ram: u64, limits: Limits) -> Self {
        let name = format!("{vm}{boot}");
        let mut group = Self {
            folders: Vec::new(),
        };
        for (controller, place) in own_places() {
            let done = match place {
                Some(place) => {
                    remove_leftovers(&place, vm, &name);
                    group.limit(&name, controller, &place, ram, limits)
                }
                None => Err(io::ErrorKind::NotFound.into()),
            };
            if let Err(error) = done {
                tracing::warn!(?controller, %error, "no control group: QEMU runs without this limit");
            }
        }
        group
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
        ram: u64,
        limits: Limits,
    ) -> io::Result<()> {
        let folder = place.folder.join(name);
        if place.unified {
            let enable = format!("+{}", controller.name());
            fs::write(place.folder.join("cgroup.subtree_control"), enable)?;
        }
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !self.folders.contains(&folder) {
            self.folders.push(folder.clone());
        }
        for (file, value) in controller.settings(place.unified, ram, limits) {
            fs::write(folder.join(file), value)?;
        }
        Ok(())
    }
}

/// The folders of this process's own groups, in which [`Cgroup::create`] makes others.
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
    places(&mounts, &membership)
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
