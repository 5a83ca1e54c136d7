//! Ending all processes of a group.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::write;

/// Kills (SIGKILL) all that is in a group; whether nobody is, as in one that is not there. To be asked again: version 1
/// has no means against one that starts others faster than they are killed, but the limit of how many there are.
///
/// Known attack: a process whose first thread has ended goes on in its others. `cgroup.kill` signals the first threads alone
/// (`__cgroup_kill()`, kernel/cgroup/cgroup.c), which pass nothing on then; a signal to the process ends all.
pub(super) fn all_in(folder: &Path) -> io::Result<bool> {
    let members = members(folder)?;
    if members.is_empty() {
        return Ok(true);
    }
    // Who is frozen starts nobody, and can be killed (cgroup-v2.rst). Then all at once. Version 1 has no such files.
    for file in ["cgroup.freeze", "cgroup.kill"] {
        match write(&folder.join(file), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written?,
        }
    }
    for member in members {
        one_in(folder, member)?;
    }
    Ok(false)
}

/// Whether nobody is in a group, as in one that is not there.
pub(super) fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(members(folder)?.is_empty())
}

fn one_in(folder: &Path, member: Pid) -> io::Result<()> {
    let pidfd = match pidfd_open(member, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The descriptor names whoever had the pid when it was opened: asked after that, so that it is one of the group's.
    if !members(folder)?.contains(&member) {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Err(Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

/// Who is in a group. One of a pid namespace that we do not see into is 0 there, and none of ours.
fn members(folder: &Path) -> io::Result<Vec<Pid>> {
    match fs::read_to_string(folder.join("cgroup.procs")) {
        Ok(pids) => Ok(pids
            .lines()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        // Removed since it was opened.
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
