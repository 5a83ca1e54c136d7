//! A process, named so that no other is ever taken for it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process by its pid and by when it started: pids are given anew, the two together are not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessId {
    pid: i32,
    /// Clock ticks from the host's boot to its start (proc_pid_stat(5), field 22).
    started: u64,
    /// Which boot of the host that is (random(4)).
    boot: String,
}

impl ProcessId {
    /// Of a process that is there: a child that nobody has waited for yet.
    pub fn of(pid: u32) -> io::Result<Self> {
        let started = started(pid)?;
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let boot = host_boot()?;
        Ok(Self { pid, started, boot })
    }

    /// Whether it is there and alive.
    pub fn is_there(&self) -> io::Result<bool> {
        match self.open()? {
            Some(pidfd) => Ok(!has_ended(&pidfd)?),
            None => Ok(false),
        }
    }

    /// Kills it (SIGKILL), and no other process. Whether it was there and alive.
    pub fn kill(&self) -> io::Result<bool> {
        let Some(pidfd) = self.open()? else {
            return Ok(false);
        };
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) => Ok(!has_ended(&pidfd)?),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A descriptor of it, or of its remains; `None` where it is gone.
    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let (Some(pid), true) = (Pid::from_raw(self.pid), host_boot()? == self.boot) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The descriptor names whoever had the pid when it was opened: asked after that, so that it is the same one.
        match started(self.pid.cast_unsigned()) {
            Ok(started) if started == self.started => Ok(Some(pidfd)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether all threads of a process have ended, be it that its parent has not waited for it yet. /proc does not tell: a process
/// whose first thread has ended is a zombie there, and its others may go on.
fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
    let at_once = Timespec::default();
    match poll(&mut ended, Some(&at_once)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn host_boot() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(boot.trim().to_owned())
}

fn started(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    started_in(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has no start time")))
}

/// Field 22 of /proc/PID/stat. The second is the program's name, in which anything may stand.
fn started_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;
    use crate::headless;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn only_the_very_process_is_killed() {
        let mut child = sleeper();
        let named = ProcessId::of(child.id()).unwrap();
        // Its pid is another process's by now, or the host was booted anew.
        let earlier = ProcessId {
            started: named.started - 1,
            ..named.clone()
        };
        let elsewhere = ProcessId {
            boot: "another".into(),
            ..named.clone()
        };
        assert!(!earlier.kill().unwrap() && !elsewhere.kill().unwrap());
        assert!(child.try_wait().unwrap().is_none());
        // Before anybody waits for it, it has ended; and afterwards.
        while named.kill().unwrap() {
            std::thread::yield_now();
        }
        let killed = child.wait().unwrap().signal();
        assert_eq!(killed, Some(Signal::KILL.as_raw()));
        assert!(!named.kill().unwrap());
    }

    /// Known attack: one that ends its first thread is taken for dead, and goes on.
    #[test]
    fn process_whose_first_thread_has_ended_is_alive() {
        let mut child = headless::start(Vec::new());
        let named = ProcessId::of(child.id()).unwrap();
        assert!(headless::lives(&child) && named.is_there().unwrap());
        while named.kill().unwrap() {
            std::thread::yield_now();
        }
        assert!(!headless::lives(&child) && !named.is_there().unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn a_programs_name_is_no_field() {
        let stat = "7 (a) b) 9 9) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(started_in(stat), Some(4711));
        assert_eq!(started_in("7 (a"), None);
        assert_eq!(started_in("7 (a) S 1"), None);
    }
}
