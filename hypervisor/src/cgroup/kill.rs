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
    if is_empty(folder)? {
        return Ok(true);
    }
    // Who is frozen starts nobody, and can be killed (cgroup-v2.rst). Then all at once. Version 1 has no such files.
    for file in ["cgroup.freeze", "cgroup.kill"] {
        match write(&folder.join(file), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written?,
        }
    }
    for member in members(folder)? {
        one_in(folder, member)?;
    }
    Ok(false)
}

/// Whether nobody is in a group, as in one that is not there. Version 2 does not list a process that is about to end, whose
/// memory and files may be there yet (`css_task_iter_advance()`, kernel/cgroup/cgroup.c), and counts it among the populace.
pub(super) fn is_empty(folder: &Path) -> io::Result<bool> {
    match file_of(folder, "cgroup.events")? {
        Some(events) => Ok(events.lines().any(|line| line == "populated 0")),
        None => Ok(members(folder)?.is_empty()),
    }
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
    let pids = file_of(folder, "cgroup.procs")?.unwrap_or_default();
    let pids = pids.lines().filter_map(|pid| pid.parse().ok());
    Ok(pids.filter_map(Pid::from_raw).collect())
}

/// The text of a group's file; `None` where the group, or such a file in its version, is not there.
fn file_of(folder: &Path, file: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Removed since it was opened.
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}
