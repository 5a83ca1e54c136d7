//! A command that runs in control groups from before its program's first instruction.
#![expect(unsafe_code, reason = "only a hook between fork and exec can do this")]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Puts `command` into control groups, by their open `cgroup.procs`; what it starts is in them, too. To be asked before
/// the command is made another user's, who may not.
pub fn in_groups(command: &mut Command, groups: Vec<File>) {
    let join = move || {
        for group in &groups {
            rustix::io::write(group, b"0")?;
        }
        Ok(())
    };
    // SAFETY: the hook makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(join) };
}
