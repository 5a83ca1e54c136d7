//! The system users that `cargo xtask setup` made.

use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

/// A system user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

impl Account {
    /// Connects to a Unix socket as a process of this user: whoever listens there is told so by the kernel.
    pub fn connect(self, socket: &Path) -> Result<UnixStream> {
        let connected = || {
            // The peer's credentials are those of the connecting thread at that moment (unix(7)): a thread that ends
            // here takes on others than the process has.
            set_thread_res_gid(None::<Gid>, Gid::from_raw(self.gid), None::<Gid>)?;
            set_thread_res_uid(None::<Uid>, Uid::from_raw(self.uid), None::<Uid>)?;
            UnixStream::connect(socket)
        };
        let joined = thread::scope(|scope| scope.spawn(connected).join());
        match joined {
            Ok(stream) => stream.with_context(|| format!("no connection to {}", socket.display())),
            Err(_) => bail!("the connecting thread panicked"),
        }
    }
}

/// The user of this name.
pub fn account(name: &str) -> Result<Account> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))
        .with_context(|| format!("there is no user {name}; run `cargo xtask setup`"))?;
    let mut fields = line.split(':').skip(2).map(str::parse);
    let (Some(Ok(uid)), Some(Ok(gid))) = (fields.next(), fields.next()) else {
        anyhow::bail!("/etc/passwd has a malformed line for {name}");
    };
    Ok(Account { uid, gid })
}

/// The number of this group.
pub fn group(name: &str) -> Result<u32> {
    let groups = std::fs::read_to_string("/etc/group")?;
    let line = groups
        .lines()
        .find(|line| line.split(':').next() == Some(name))
        .with_context(|| format!("there is no group {name}; run `cargo xtask setup`"))?;
    let gid = line.split(':').nth(2).and_then(|gid| gid.parse().ok());
    gid.with_context(|| format!("/etc/group has a malformed line for {name}"))
}

/// The users that guests' QEMUs and guests' measurers run as: the two halves of the hypervisor's range.
pub fn of_guests() -> Result<[Range<u32>; 2]> {
    let ranges = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let range = ranges
        .lines()
        .find_map(|line| line.strip_prefix("bartizan-hypervisor:"))
        .context("there are no users for guests; run `cargo xtask setup`")?;
    let (first, count) = range.split_once(':').context("/etc/subuid is malformed")?;
    let (first, count): (u32, u32) = (first.parse()?, count.parse()?);
    ensure!(count >= 4, "/etc/subuid has {count} users for guests");
    let middle = first + count / 2;
    Ok([first..middle, middle..first + count])
}
