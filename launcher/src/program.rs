//! Starting a program: from its sealed memory file, as its user, with the descriptors that it is due and nothing else.
#![expect(unsafe_code, reason = "only a hook between fork and exec can do this")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bartizan_local::measured::VARIABLE as FILES;
use rustix::io::FdFlags;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::accounts::Account;
use crate::confinement::keep_no_other;

/// A program to be started.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its name, as it sees it.
    pub name: &'a str,
    /// The path of what is executed ([`crate::execution::Execution`]).
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it is told in its environment beside what all are told.
    pub environment: Vec<(&'a str, &'a str)>,
    /// Whom it runs as.
    pub account: Account,
    /// What it keeps of root's rights.
    pub capabilities: CapabilitySet,
    /// Measured files that it is handed, under the numbers that they have here, and their names.
    pub files: Vec<(&'a str, &'a OwnedFd)>,
    /// What it is executed by and with, under the numbers that they have here.
    pub kept: Vec<&'a OwnedFd>,
    /// Its standard input, if it has a link.
    pub link: Option<OwnedFd>,
    /// Where it says that it serves.
    pub notify: Option<&'a Path>,
    /// Where its standard error goes; to this process's if absent.
    pub log: Option<File>,
}

impl Program<'_> {
    /// Starts it.
    pub fn spawn(self) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .arg0(self.name)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("RUST_LOG", "info")
            .stdin(self.link.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::null())
            .stderr(self.log.map_or_else(Stdio::inherit, Stdio::from));
        if let Some(notify) = self.notify {
            command.env("NOTIFY_SOCKET", notify);
        }
        if !self.files.is_empty() {
            let line = |(name, file): &(&str, &OwnedFd)| format!("{}={name}", file.as_raw_fd());
            let lines: Vec<_> = self.files.iter().map(line).collect();
            command.env(FILES, lines.join("\n"));
        }
        let files = self.files.iter().map(|(_, file)| file);
        let kept: Vec<RawFd> = (files.chain(&self.kept))
            .map(|file| file.as_raw_fd())
            .collect();
        let (account, capabilities) = (self.account, self.capabilities);
        let settle = move || {
            become_user(account, capabilities)?;
            for descriptor in &kept {
                // SAFETY: `self` borrows the file until the child was made, and the child has its own copy.
                let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
                rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: the hook makes system calls only; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(settle) };
        command.spawn()
    }
}

/// Becomes a user with those capabilities and no other, now and ever. Async-signal-safe.
fn become_user(account: Account, kept: CapabilitySet) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    keep_no_other(kept)?;
    // From root to another user the kernel would take them.
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()?;
    for one in kept.iter() {
        rustix::thread::configure_capability_in_ambient_set(one, true)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    // A session of its own: a terminal's signals are for the launcher.
    rustix::process::setsid()?;
    Ok(())
}
