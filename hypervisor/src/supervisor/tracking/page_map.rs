//! The files in /proc that tell of QEMU's memory. They are for whoever might trace it (ptrace(2), `PTRACE_MODE_READ_FSCREDS`): a
//! process of its user and its group, from outside of its Landlock domain. A supervisor is neither, and has no capability that would
//! do instead.
//!
//! So a thread becomes that user (setresuid(2) is each thread's own; the C library's is not), opens them and ends. It cannot become anything
//! else again: the filter allows this guest's users alone. QEMU could signal it as long as it lives, where the kernel's Landlock does not
//! forbid that; the guest has not begun to run by then.

use std::fs::File;
use std::io;
use std::thread;

use bartizan_confinement::forbid_dumps;
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};

use crate::qemu::process::User;

/// A process's mappings and its page map.
pub(super) fn open(pid: u32, user: Option<User>) -> io::Result<(File, File)> {
    let open = move || {
        let file = |name| File::open(format!("/proc/{pid}/{name}"));
        Ok((file("maps")?, file("pagemap")?))
    };
    let Some(user) = user else {
        return open();
    };
    let opened = thread::scope(|scope| {
        let opener = thread::Builder::new().name("page map".into());
        let opened = opener.spawn_scoped(scope, || {
            become_user(user)?;
            open()
        })?;
        opened.join().unwrap_or(Err(io::ErrorKind::Other.into()))
    });
    // To become another user may have undone it (fs.suid_dumpable of proc_sys_fs(5)).
    forbid_dumps()?;
    opened
}

fn become_user(user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}
