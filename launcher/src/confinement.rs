//! What the launcher gives up before it starts anybody: capabilities that neither it nor any program of a release needs, and
//! system calls that no process of a host makes. Whatever it starts inherits both, and gives up more by itself.

use bartizan_boot::Capability;
use bartizan_confinement::system_call::{SystemCall, always};
use bartizan_confinement::{Filter, FilterError, forbid_dumps};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The process could not be confined; nothing is started then.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// A system call failed.
    #[error("capabilities could not be given up: {0}; the launcher is started as root")]
    Capabilities(#[from] rustix::io::Errno),
    /// The process can be dumped.
    #[error("the process could not be made undumpable: {0}")]
    Dumps(#[from] std::io::Error),
    /// Seccomp failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// The kernel's word for them. All that a program can be given the launcher keeps, and no other: by them it reads files of any
/// owner, becomes and ends other users' processes, gives sockets away, and keeps capabilities from those that it starts.
pub(crate) fn capabilities(of: impl IntoIterator<Item = Capability>) -> CapabilitySet {
    let kernels = |one| match one {
        Capability::Chown => CapabilitySet::CHOWN,
        Capability::DacOverride => CapabilitySet::DAC_OVERRIDE,
        Capability::Kill => CapabilitySet::KILL,
        Capability::Setgid => CapabilitySet::SETGID,
        Capability::Setpcap => CapabilitySet::SETPCAP,
        Capability::Setuid => CapabilitySet::SETUID,
    };
    of.into_iter().map(kernels).collect()
}

/// Confines this process before it has a second thread.
pub fn confine() -> Result<(), ConfinementError> {
    forbid_dumps()?;
    let kept = rustix::thread::capabilities(None)?.permitted & capabilities(Capability::ALL);
    keep_no_other(kept)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)?;
    Filter::all_but(FORBIDDEN, ABSENT)?.install()?;
    Ok(())
}

/// Has no program that is executed from now on get any capability but these. Async-signal-safe.
pub(crate) fn keep_no_other(kept: CapabilitySet) -> rustix::io::Result<()> {
    let others = CapabilitySet::all().iter();
    for one in others.filter(|one| !kept.contains(*one)) {
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Calls that are answered as if there were none such.
const ABSENT: &[SystemCall] = &[
    always(
        libc::SYS_io_uring_setup,
        "its operations pass by every filter",
    ),
    always(libc::SYS_io_uring_enter, "as io_uring_setup"),
    always(libc::SYS_io_uring_register, "as io_uring_setup"),
];

/// Calls that end the process.
const FORBIDDEN: &[SystemCall] = &[
    always(libc::SYS_ptrace, "reads and changes another process"),
    always(libc::SYS_process_vm_readv, "reads another process"),
    always(libc::SYS_process_vm_writev, "changes another process"),
    always(libc::SYS_pidfd_getfd, "takes another process's descriptors"),
    always(libc::SYS_kcmp, "looks into another process"),
    always(libc::SYS_bpf, "programs in the kernel"),
    always(libc::SYS_perf_event_open, "watches everybody"),
    always(libc::SYS_init_module, "code in the kernel"),
    always(libc::SYS_finit_module, "code in the kernel"),
    always(libc::SYS_delete_module, "code in the kernel"),
    always(libc::SYS_kexec_load, "another kernel"),
    always(libc::SYS_kexec_file_load, "another kernel"),
    always(libc::SYS_reboot, "the host's end"),
    always(libc::SYS_iopl, "the host's devices"),
    always(libc::SYS_ioperm, "the host's devices"),
    always(libc::SYS_mount, "other files under known paths"),
    always(libc::SYS_umount2, "other files under known paths"),
    always(libc::SYS_move_mount, "other files under known paths"),
    always(libc::SYS_open_tree, "other files under known paths"),
    always(libc::SYS_fsopen, "other files under known paths"),
    always(libc::SYS_fsmount, "other files under known paths"),
    always(libc::SYS_mount_setattr, "other files under known paths"),
    always(libc::SYS_pivot_root, "other files under known paths"),
    always(libc::SYS_chroot, "other files under known paths"),
    always(
        libc::SYS_open_by_handle_at,
        "opens files without a path to judge",
    ),
    always(libc::SYS_setns, "another's view of the host"),
    always(libc::SYS_unshare, "a view of the host with more rights"),
];

#[cfg(test)]
mod tests {
    use bartizan_confinement::Filter;

    use super::*;

    #[test]
    fn a_capability_is_the_kernels_of_its_name() {
        for one in Capability::ALL {
            let named = CapabilitySet::from_name(&one.name().to_uppercase());
            assert_eq!(Some(capabilities([one])), named);
        }
    }

    #[test]
    fn the_table_makes_a_filter() {
        Filter::all_but(FORBIDDEN, ABSENT).unwrap();
    }
}
