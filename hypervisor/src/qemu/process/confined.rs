//! A command whose privileges, limits and descriptors are settled between fork and exec.
#![expect(unsafe_code, reason = "only a hook between fork and exec can do this")]

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_confinement::{Domain, Filter, FilterError};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};
use serde::{Deserialize, Serialize};

use super::{Process, descriptors, in_groups};

/// Whom a child runs as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// User id: real, effective and saved.
    pub uid: u32,
    /// Group id; there are no others.
    pub gid: u32,
}

/// What a child is held to from before its program's first instruction.
#[derive(Debug)]
pub struct Restrictions {
    /// Files, TCP, signals.
    pub domain: Domain,
    /// System calls.
    pub filter: Filter,
}

/// A child to be started.
#[derive(Debug)]
pub struct Confined<'a> {
    command: Command,
    user: Option<User>,
    kept: Vec<BorrowedFd<'a>>,
    placed: Vec<(BorrowedFd<'a>, RawFd)>,
    restrictions: Option<Restrictions>,
}

impl<'a> Confined<'a> {
    /// `program` with no argument, no environment and no descriptor; standard input and output are
    /// `/dev/null`, unless something else is said.
    pub fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            command,
            user: None,
            kept: Vec::new(),
            placed: Vec::new(),
            restrictions: None,
        }
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds to its environment, which is empty else.
    pub fn envs(
        mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Self {
        self.command.envs(variables);
        self
    }

    /// What its standard input is.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Where its standard error goes.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self
    }

    /// Whom it runs as; with `None` as its parent's user.
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// Puts it into control groups, by their open `cgroup.procs`.
    pub fn in_groups(mut self, groups: Vec<File>) -> Self {
        // Hooks run in their order: this one before it is made another user's, who may not.
        in_groups(&mut self.command, groups);
        self
    }

    /// Lets it inherit a descriptor under its present number.
    pub fn keep(mut self, descriptor: BorrowedFd<'a>) -> Self {
        self.kept.push(descriptor);
        self
    }

    /// Lets it inherit a descriptor as number `at`, 3 to 8.
    pub fn place(mut self, descriptor: BorrowedFd<'a>, at: RawFd) -> Self {
        debug_assert!((3..=descriptors::LAST_FIXED).contains(&at));
        self.placed.push((descriptor, at));
        self
    }

    /// Holds it to restrictions; it inherits its parent's in any case.
    pub fn restricted(mut self, to: Restrictions) -> Self {
        self.restrictions = Some(to);
        self
    }

    /// Starts it. It dies (SIGKILL) with the *thread* that calls this: call it from one that lives as
    /// long as the process.
    pub fn spawn(mut self) -> io::Result<Process> {
        descriptors::reserve_fixed_numbers()?;
        let kept: Vec<RawFd> = self.kept.iter().map(AsRawFd::as_raw_fd).collect();
        let placed: Vec<(RawFd, RawFd)> = self
            .placed
            .iter()
            .map(|(descriptor, at)| (descriptor.as_raw_fd(), *at))
            .collect();
        let (user, parent) = (self.user, rustix::process::getpid());
        let (mut domain, filter) = match self.restrictions {
            Some(Restrictions { domain, filter }) => (Some(domain), Some(filter)),
            None => (None, None),
        };
        let settle = move || {
            // Those are for the supervisor alone, whomever its child runs as.
            rustix::thread::clear_ambient_capability_set()?;
            if let Some(user) = user {
                become_user(user)?;
            }
            // After the change of user, which clears it.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::NotFound.into());
            }
            rustix::thread::set_no_new_privs(true)?;
            for descriptor in &kept {
                descriptors::keep(*descriptor)?;
            }
            for (descriptor, at) in &placed {
                descriptors::place(*descriptor, *at)?;
            }
            // Last: what was done above is not allowed any more.
            if let Some(domain) = domain.take() {
                domain.enter_in_child()?;
            }
            if let Some(filter) = &filter {
                filter.install_in_child().map_err(refused)?;
            }
            Ok(())
        };
        // SAFETY: the hook makes system calls only; it neither allocates nor takes a lock, and the
        // descriptors it names are held by `self` until the child has run it.
        unsafe { self.command.pre_exec(settle) };
        Process::new(self.command.spawn()?)
    }
}

/// Without allocating, as everything between fork and exec.
fn refused(_: FilterError) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// Gives up every other user, group and capability. Async-signal-safe.
fn become_user(user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    // From one unprivileged user to another, the kernel leaves them.
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
