//! The system users that `cargo xtask setup` made.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};
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
