//! The users of one guest's processes, taken so that no other guest's processes run as them meanwhile.
//!
//! A number of the ranges is taken by a lock on a file of that number, which the kernel gives back when the supervisor
//! ends, however it ends. The daemon has no part in it: it may be killed, and a supervisor that it takes for dead goes
//! on holding its number.
//!
//! Known attack: a supervisor that was taken over hands its lock on in each of its boots, until no number is left for any
//! guest. So it is a lock that belongs to a process (fcntl_locking(2)), not to an open file that others may have.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::Users;
use crate::qemu::process::User;

/// Whom a guest's processes run as. As long as this is held, no other guest's do.
#[derive(Debug)]
pub struct OwnUsers {
    /// QEMU's user; the supervisor's own where there is no range.
    pub qemu: Option<User>,
    /// The measurer's, likewise.
    pub measurer: Option<User>,
    _lock: Option<File>,
}

/// No user for the guest's processes.
#[derive(Debug, thiserror::Error)]
pub enum OwnUsersError {
    /// Each is some running guest's.
    #[error(
        "all {0} users are taken by running guests; raise `count` of `qemu.users` and `measurer.users`"
    )]
    Taken(u32),
    /// The folder of the locks cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    Lock {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Who runs cannot be known.
    #[error("the users of running processes cannot be read from /proc: {0}")]
    Processes(io::Error),
}

impl OwnUsers {
    /// Takes the first number of the ranges that is free, by the locks in `folder`.
    pub fn take(
        folder: &Path,
        qemu: Option<Users>,
        measurer: Option<Users>,
    ) -> Result<Self, OwnUsersError> {
        Self::take_unless(folder, qemu, measurer, running)
    }

    pub(super) fn take_unless(
        folder: &Path,
        qemu: Option<Users>,
        measurer: Option<Users>,
        running: impl Fn() -> io::Result<BTreeSet<u32>>,
    ) -> Result<Self, OwnUsersError> {
        let ranges = qemu.into_iter().chain(measurer);
        let Some(count) = ranges.map(Users::count).min() else {
            return Ok(Self {
                qemu: None,
                measurer: None,
                _lock: None,
            });
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| OwnUsersError::Lock { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for number in 0..count {
            let path = folder.join(format!("{number}.lock"));
            let Some(lock) = lock(&path).map_err(failed(&path))? else {
                continue;
            };
            let user = |range: Option<Users>| range.and_then(|range| range.nth(number));
            let own = Self {
                qemu: user(qemu),
                measurer: user(measurer),
                _lock: Some(lock),
            };
            // A supervisor's lock is given back a moment before its children are killed. Asked after the lock was
            // taken: nobody starts another such process from now on.
            let running = running().map_err(OwnUsersError::Processes)?;
            let mut users = own.qemu.iter().chain(&own.measurer);
            if !users.any(|user| running.contains(&user.uid)) {
                return Ok(own);
            }
        }
        Err(OwnUsersError::Taken(count))
    }
}

/// The file, locked; `None` if another has the lock. This process must open none of these files that it has locked: whatever it
/// closes of one gives the lock up.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The users of all processes, but for those that have ended, with all their threads, and only wait for their parent.
pub(super) fn running() -> io::Result<BTreeSet<u32>> {
    let mut users = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        // What is no process has no status; one that has ended since has none any more.
        let Ok(status) = fs::read_to_string(entry?.path().join("status")) else {
            continue;
        };
        users.extend(users_of(&status));
    }
    Ok(users)
}

/// Real, effective, saved and file system user, from the text of /proc/PID/status (proc_pid_status(5)).
pub(super) fn users_of(status: &str) -> impl Iterator<Item = u32> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let is =
        |name, value: &str| field(name).is_some_and(|line| line.trim_start().starts_with(value));
    // A process whose first thread has ended is called a zombie, and its others go on.
    let ended = is("State:", "Z") && field("Threads:").is_some_and(|count| count.trim() == "1");
    let users = field("Uid:").filter(|_| !ended).unwrap_or_default();
    users
        .split_ascii_whitespace()
        .filter_map(|uid| uid.parse().ok())
}
