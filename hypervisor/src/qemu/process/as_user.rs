//! A command that runs as another user and keeps the capabilities that it needs to start others in turn.
#![expect(unsafe_code, reason = "only a hook between fork and exec can do this")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::User;

/// What a supervisor needs: to become its guest's users and to kill their processes, whoever owns the files it works on.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Has `command` run as `user`, with those capabilities of this process's and no other.
pub fn as_user(command: &mut Command, user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let kept = rustix::thread::capabilities(None)?.permitted & KEPT;
    let settle = move || {
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
        Ok(())
    };
    // SAFETY: the hook makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(settle) };
    Ok(())
}
