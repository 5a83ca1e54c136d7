//! Control groups (cgroups(7)) as the kernel shows them: which limits guests can have on this machine, and which they have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Access, access};

use crate::process::Process;

/// The controllers by which a guest is limited.
pub const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The group of a process for one controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it is of version 2.
    pub unified: bool,
}

impl Group {
    /// The group of a process for a controller, of version 1 where that has it. `None` where neither version is mounted.
    pub fn of(process: Process, controller: &str) -> Result<Option<Self>> {
        let membership = fs::read_to_string(format!("/proc/{}/cgroup", process.pid()))?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(find(&mounts, &membership, controller))
    }

    /// What a file of it says.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.trim().to_owned())
    }

    /// The number in a file of it.
    pub fn number(&self, file: &str) -> Result<u64> {
        let text = self.read(file)?;
        text.parse().with_context(|| format!("{file} is {text}"))
    }

    /// The number that a file of it has after a name.
    pub fn counted(&self, file: &str, name: &str) -> Result<u64> {
        let text = self.read(file)?;
        let line = (text.lines()).find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let number = line.with_context(|| format!("{file} has no {name}"))?;
        Ok(number.parse()?)
    }

    /// Why no group beneath it can be limited by the controller, if none can.
    fn lack(&self, controller: &str) -> Result<Option<String>> {
        let folder = self.folder.display();
        if access(&self.folder, Access::WRITE_OK).is_err() {
            return Ok(Some(format!("{folder} cannot be written to")));
        }
        if !self.unified {
            return Ok(None);
        }
        let offered = self.read("cgroup.controllers")?;
        if !offered.split_whitespace().any(|one| one == controller) {
            return Ok(Some(format!("{folder} offers no controller {controller}")));
        }
        // Every group but the first has this file. Whoever starts the tests is in theirs, and does not leave it.
        let shared = self.folder.join("cgroup.type").exists();
        Ok(shared.then(|| format!("{folder} has processes, and shares no controller out")))
    }
}

/// Why a daemon that this process starts cannot set every limit, if it cannot.
pub fn lack() -> Result<Option<String>> {
    let this = Process::of(std::process::id())?;
    for controller in CONTROLLERS {
        let lack = match Group::of(this, controller)? {
            Some(group) => group.lack(controller)?,
            None => Some(format!("no control groups for {controller} are mounted")),
        };
        if lack.is_some() {
            return Ok(lack);
        }
    }
    Ok(None)
}

fn find(mounts: &str, membership: &str, controller: &str) -> Option<Group> {
    let listed = |list: &str| list.split(',').any(|one| one == controller);
    // cgroups(7): hierarchy:controllers:path
    let path = |is_it: &dyn Fn(&str) -> bool| {
        membership.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_it(controllers).then_some(path)
        })
    };
    // proc_pid_mountinfo(5): id parent device root point options … - type source options
    let folder = |path: &str, is_it: &dyn Fn(&str, &str) -> bool| {
        mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut kind = right.split(' ');
            let mut place = left.split(' ').skip(3);
            let (root, point) = (place.next()?, place.next()?);
            let below = Path::new(path).strip_prefix(root).ok()?;
            is_it(kind.next()?, kind.nth(1)?).then(|| Path::new(point).join(below))
        })
    };
    let version_1 = path(&listed)
        .and_then(|path| folder(path, &|kind, options| kind == "cgroup" && listed(options)));
    let version_2 = || {
        let folder = folder(path(&str::is_empty)?, &|kind, _| kind == "cgroup2")?;
        Some((folder, true))
    };
    let (folder, unified) = version_1.map(|folder| (folder, false)).or_else(version_2)?;
    Some(Group { folder, unified })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
31 25 0:27 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_1_goes_before_version_2() {
        let membership = "4:memory:/box/a\n1:cpu,cpuacct:/b\n0::/c\n";
        let found = |controller| {
            let group = find(MOUNTS, membership, controller)?;
            Some((group.folder.display().to_string(), group.unified))
        };
        assert_eq!(
            CONTROLLERS.map(found),
            [
                Some(("/sys/fs/cgroup/memory/a".into(), false)),
                Some(("/sys/fs/cgroup/unified/c".into(), true)),
                Some(("/sys/fs/cgroup/cpu,cpuacct/b".into(), false)),
            ]
        );
    }

    #[test]
    fn what_is_not_mounted_is_not_there() {
        assert_eq!(find("", "4:memory:/a\n0::/b\n", "memory"), None);
        // A group outside of what a container sees.
        let other = find(MOUNTS, "4:memory:/other\n", "memory");
        assert_eq!(other, None);
    }
}
