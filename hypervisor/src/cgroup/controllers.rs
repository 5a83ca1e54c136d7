//! Which controllers there are, where, and what is written to them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::bounds::{Bounds, Cpu, PERIOD_US, quota_us};

/// A controller that limits something of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Number of tasks.
    Pids,
    /// Share of the CPUs.
    Cpu,
}

/// The folder of a group for one controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// That folder.
    pub folder: PathBuf,
    /// Whether it is of version 2.
    pub unified: bool,
}

/// As the kernel calls it.
impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Of version 2 and version 1: a guest's RAM goes to no disk, and no limit is stretched by one.
pub(super) const SWAP: [&str; 2] = ["memory.swap.max", "memory.swappiness"];

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    /// Files and their values (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst).
    pub(super) fn settings(self, unified: bool, bounds: Bounds) -> Vec<(&'static str, String)> {
        let memory = bounds.memory.to_string();
        match (self, unified) {
            (Self::Memory, true) => vec![("memory.max", memory), (SWAP[0], "0".into())],
            (Self::Memory, false) => vec![("memory.limit_in_bytes", memory), (SWAP[1], "0".into())],
            (Self::Pids, _) => vec![("pids.max", bounds.threads.to_string())],
            (Self::Cpu, unified) => cpu(unified, bounds.cpu),
        }
    }
}

fn cpu(unified: bool, cpu: Cpu) -> Vec<(&'static str, String)> {
    match (cpu, unified) {
        (Cpu::Weight(weight), true) => vec![("cpu.weight", weight.to_string())],
        // 100 of v2 is 1024 of v1.
        (Cpu::Weight(weight), false) => {
            let shares = (u64::from(weight) * 1024 / 100).max(2);
            vec![("cpu.shares", shares.to_string())]
        }
        (Cpu::Percent(percent), true) => {
            vec![("cpu.max", format!("{} {PERIOD_US}", quota_us(percent)))]
        }
        (Cpu::Percent(percent), false) => vec![
            ("cpu.cfs_period_us", PERIOD_US.to_string()),
            ("cpu.cfs_quota_us", quota_us(percent).to_string()),
        ],
    }
}

/// Where this process's group is, for each controller, from the texts of `/proc/self/mountinfo` and
/// `/proc/self/cgroup`. A controller is looked for in version 1 first: it cannot be in both at once.
#[must_use]
pub fn places(mounts: &str, membership: &str) -> Vec<(Controller, Option<Place>)> {
    Controller::ALL
        .into_iter()
        .map(|controller| {
            let name = controller.name();
            // Whether version 2 offers it is seen when it is enabled.
            let place = place(mounts, membership, Some(name));
            (controller, place.or_else(|| unified(mounts, membership)))
        })
        .collect()
}

/// Where this process's group of version 2 is, likewise.
pub(super) fn unified(mounts: &str, membership: &str) -> Option<Place> {
    let place = place(mounts, membership, None)?;
    Some(Place {
        unified: true,
        ..place
    })
}

/// The folder for a controller of version 1, or for version 2.
fn place(mounts: &str, membership: &str, controller: Option<&str>) -> Option<Place> {
    let own = membership.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = match controller {
            Some(name) => controllers.split(',').any(|one| one == name),
            None => controllers.is_empty(),
        };
        ours.then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
        let ours = match controller {
            Some(name) => kind == "cgroup" && options.split(',').any(|one| one == name),
            None => kind == "cgroup2",
        };
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        // In a container the mount shows a part of the tree only.
        let below = Path::new(own).strip_prefix(root).ok()?;
        ours.then(|| Place {
            folder: Path::new(point).join(below),
            unified: false,
        })
    })
}
