//! System calls that end the process, each with its reason; all others are allowed.

use std::ops::RangeInclusive;

use bartizan_confinement::system_call::{SystemCall, When, always, only};

use super::qemu::VhostLink;

/// Whom a process may make its children: ranges of user and of group ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Becomes {
    pub(super) uids: Vec<RangeInclusive<u32>>,
    pub(super) gids: Vec<RangeInclusive<u32>>,
}

/// Calls that are answered as if there were none such.
pub(super) const ABSENT: &[SystemCall] = &[
    always(
        libc::SYS_clone3,
        "its flags lie in memory, where no filter can judge them: clone is taken",
    ),
    always(
        libc::SYS_io_uring_setup,
        "its operations pass by every filter; QEMU tries it and takes epoll",
    ),
    always(libc::SYS_io_uring_enter, "as io_uring_setup"),
    always(libc::SYS_io_uring_register, "as io_uring_setup"),
];

/// Calls of QEMU's that are answered as if they were done (see [`super::qemu::VhostLink`]).
pub(super) const LINKS: &[SystemCall] = &[
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_UNIX),
        "its standard input is what it wants",
    ),
    always(libc::SYS_connect, "which is connected"),
];

/// For the daemon and supervisors.
pub(super) fn starts_others(becomes: &Becomes) -> Vec<SystemCall> {
    let mut table = nobody_does();
    for argument in 0..3 {
        table.push(only(
            libc::SYS_setresuid,
            When::Outside(argument, becomes.uids.clone()),
            "becomes root, or anybody but guests' users",
        ));
        table.push(only(
            libc::SYS_setresgid,
            When::Outside(argument, becomes.gids.clone()),
            "takes another group than guests'",
        ));
    }
    table.extend([
        only(
            libc::SYS_setgroups,
            When::is_not(0, 0),
            "takes any supplementary group",
        ),
        only(
            libc::SYS_socket,
            When::is_not(0, libc::AF_UNIX),
            "speaks to a network",
        ),
    ]);
    merged(table)
}

/// For QEMU, beside its own sandbox. Its sockets are given to it, connected.
///
/// Known attack: a QEMU that its guest took over outlives its supervisor, by clearing the signal that is to kill it then,
/// or in a child, which does not inherit that. What else clears it (another user, a program with privileges) is forbidden
/// too, and so is execve(2) in a thread that never had it: by QEMU's sandbox, since QEMU itself is executed under this
/// table.
pub(super) fn qemu(link: VhostLink) -> Vec<SystemCall> {
    let mut table = nobody_does();
    table.extend([
        only(
            libc::SYS_prctl,
            When::is(0, libc::PR_SET_PDEATHSIG),
            "outlives its supervisor",
        ),
        always(libc::SYS_fork, "a process that outlives its supervisor"),
        always(libc::SYS_vfork, "a process that outlives its supervisor"),
        // A thread shares memory and ends with the others: the kernel takes CLONE_THREAD with CLONE_VM only.
        only(
            libc::SYS_clone,
            When::lacks(0, libc::CLONE_THREAD),
            "a process that outlives its supervisor",
        ),
        always(libc::SYS_setresuid, "becomes somebody else"),
        always(libc::SYS_setresgid, "takes another group"),
        always(libc::SYS_setgroups, "takes another group"),
        always(libc::SYS_bind, "lets others connect"),
        always(libc::SYS_listen, "lets others connect"),
        always(libc::SYS_accept, "lets others connect"),
        always(libc::SYS_accept4, "lets others connect"),
        always(libc::SYS_pidfd_open, "takes hold of another process"),
        always(libc::SYS_pidfd_send_signal, "signals another process"),
    ]);
    table.extend(match link {
        VhostLink::None => vec![
            always(
                libc::SYS_socket,
                "reaches services of the host, by paths too",
            ),
            always(
                libc::SYS_connect,
                "reaches services of the host, by paths too",
            ),
        ],
        // What else there is of both does nothing.
        VhostLink::StandardInput => vec![only(
            libc::SYS_socket,
            When::is_not(0, libc::AF_UNIX),
            "speaks to a network",
        )],
    });
    // A pair of stream sockets leads nowhere else; others can be addressed anew with each message.
    for kind in [
        libc::SOCK_DGRAM,
        libc::SOCK_RAW,
        libc::SOCK_RDM,
        libc::SOCK_SEQPACKET,
    ] {
        table.push(only(
            libc::SYS_socketpair,
            When::Bits(1, 0xf, kind.cast_unsigned()),
            "sends to sockets that it is not connected to",
        ));
    }
    table
}

/// What none of the daemon, supervisors, QEMU and measurers ever does.
fn nobody_does() -> Vec<SystemCall> {
    let mut table = vec![
        // Other processes.
        always(libc::SYS_ptrace, "reads and changes another process"),
        always(libc::SYS_process_vm_readv, "reads another process"),
        always(libc::SYS_process_vm_writev, "changes another process"),
        always(libc::SYS_pidfd_getfd, "takes another process's descriptors"),
        always(libc::SYS_kcmp, "looks into another process"),
        // The kernel.
        always(libc::SYS_bpf, "programs in the kernel"),
        always(libc::SYS_perf_event_open, "watches everybody"),
        always(
            libc::SYS_userfaultfd,
            "makes races in the kernel easy to win",
        ),
        always(libc::SYS_init_module, "code in the kernel"),
        always(libc::SYS_finit_module, "code in the kernel"),
        always(libc::SYS_delete_module, "code in the kernel"),
        always(libc::SYS_kexec_load, "another kernel"),
        always(libc::SYS_kexec_file_load, "another kernel"),
        always(libc::SYS_reboot, "the host's end"),
        always(libc::SYS_iopl, "the host's devices"),
        always(libc::SYS_ioperm, "the host's devices"),
        always(libc::SYS_add_key, "the kernel's keys"),
        always(libc::SYS_request_key, "the kernel's keys"),
        always(libc::SYS_keyctl, "the kernel's keys"),
        // Memory and queues that belong to no process, and outlive whoever made them and their limits.
        always(libc::SYS_shmget, "memory that outlives its group"),
        always(libc::SYS_shmat, "memory that outlives its group"),
        always(libc::SYS_msgget, "a queue that outlives its group"),
        always(libc::SYS_semget, "semaphores that outlive their group"),
        always(libc::SYS_mq_open, "a queue that outlives its group"),
        // What paths mean.
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
        // Who it is; setresuid, setresgid and setgroups have conditions of their own.
        always(libc::SYS_setuid, "becomes somebody else"),
        always(libc::SYS_setreuid, "becomes somebody else"),
        always(libc::SYS_setfsuid, "becomes somebody else"),
        always(libc::SYS_setgid, "takes another group"),
        always(libc::SYS_setregid, "takes another group"),
        always(libc::SYS_setfsgid, "takes another group"),
        // Programs that no path names.
        always(libc::SYS_execveat, "executes a file that has no path"),
    ];
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ] {
        table.push(only(
            libc::SYS_clone,
            When::has(0, flag),
            "a child with another view of the host",
        ));
    }
    table
}

/// Without the conditions of a call that is forbidden altogether anyway, as setresuid is where there is no range.
fn merged(table: Vec<SystemCall>) -> Vec<SystemCall> {
    let never =
        |line: &SystemCall| matches!(&line.when, When::Outside(_, ranges) if ranges.is_empty());
    let mut kept: Vec<SystemCall> = Vec::new();
    for line in table {
        if !never(&line) {
            kept.push(line);
        } else if !kept.iter().any(|other| other.number == line.number) {
            kept.push(always(line.number, line.reason));
        }
    }
    kept
}
