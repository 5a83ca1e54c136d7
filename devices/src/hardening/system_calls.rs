//! The system calls of this process once it serves, each with its reason. Any other ends the process.
//!
//! Not here, on purpose: `execve`, `open*`, `bind`, `listen`, `ptrace`, `process_vm_*`, `userfaultfd`, `bpf`,
//! `io_uring_*`, `prctl` but for a thread's name, executable memory, a new process.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

/// The only request to a descriptor that is made: nonblocking. No TAP device is told anything any more.
const FIONBIO: u32 = 0x5421;

/// Calls that the C library makes by itself and does without when told that there is no such call.
pub(super) const ABSENT: &[SystemCall] = &[
    always(
        libc::SYS_clone3,
        "its flags lie in memory, where no filter can judge them: clone is taken",
    ),
    always(
        libc::SYS_openat,
        "the allocator asks /proc/sys/vm/overcommit_memory before it shrinks",
    ),
];

/// The calls that are allowed.
pub(super) const ALLOWED: &[SystemCall] = &[
    // Control connections.
    always(libc::SYS_accept4, "the daemon and supervisors connect"),
    always(
        libc::SYS_getsockopt,
        "who connected (SO_PEERCRED), and what kind of link came",
    ),
    always(libc::SYS_setsockopt, "deadlines on links"),
    always(libc::SYS_getpeername, "whether a link is connected"),
    always(
        libc::SYS_recvmsg,
        "attachments and QEMU's messages, with their descriptors",
    ),
    always(libc::SYS_sendmsg, "answers to QEMU"),
    // The guest's RAM.
    only(
        libc::SYS_mmap,
        When::lacks(2, libc::PROT_EXEC),
        "guests' RAM, logs of what is written of it, stacks, heap",
    ),
    only(
        libc::SYS_mprotect,
        When::lacks(2, libc::PROT_EXEC),
        "guard pages, heap",
    ),
    always(libc::SYS_munmap, "guests' RAM, stacks, heap"),
    always(libc::SYS_lseek, "the size of a RAM file"),
    always(libc::SYS_fstat, "the size of a RAM file and of its log"),
    always(libc::SYS_fstatfs, "what a RAM file is made of"),
    always(
        libc::SYS_fcntl,
        "seals of RAM files, journals and logs, nonblocking signals, a second descriptor of a link",
    ),
    // The event loop.
    always(libc::SYS_epoll_create1, "a device's event loop"),
    always(libc::SYS_epoll_ctl, "a device's event loop"),
    always(libc::SYS_epoll_wait, "a device's event loop"),
    always(libc::SYS_epoll_pwait, "a device's event loop"),
    always(libc::SYS_epoll_pwait2, "a device's event loop"),
    always(libc::SYS_eventfd2, "what wakes a network device's thread"),
    only(libc::SYS_ioctl, When::Is(1, FIONBIO), "nonblocking links"),
    always(
        libc::SYS_ppoll,
        "whether a signal to a guest would wait; it never waits itself",
    ),
    always(
        libc::SYS_read,
        "the daemon's requests, frames of a TAP device",
    ),
    always(libc::SYS_write, "signals to guests, the log"),
    always(libc::SYS_writev, "a header and its frame, to a TAP device"),
    always(libc::SYS_pread64, "the journal"),
    always(libc::SYS_pwrite64, "the journal"),
    // The host's services.
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_UNIX),
        "connections to services",
    ),
    always(libc::SYS_connect, "connections to services"),
    always(
        libc::SYS_recvfrom,
        "data of services, a look at QEMU's messages",
    ),
    always(libc::SYS_sendto, "data to services"),
    always(
        libc::SYS_shutdown,
        "half-closed connections, devices that are not admitted any more",
    ),
    always(libc::SYS_close, "the end of connections and devices"),
    // Threads and memory of this process.
    only(
        libc::SYS_clone,
        When::has(0, libc::CLONE_THREAD),
        "a thread for each device",
    ),
    only(
        libc::SYS_prctl,
        When::is(0, libc::PR_SET_NAME),
        "a thread's name",
    ),
    always(libc::SYS_set_robust_list, "start of a thread"),
    always(libc::SYS_rseq, "start of a thread"),
    always(libc::SYS_sigaltstack, "start and end of a thread"),
    always(libc::SYS_rt_sigprocmask, "start and end of a thread"),
    always(
        libc::SYS_sched_getaffinity,
        "the allocator counts processors",
    ),
    always(libc::SYS_sched_yield, "contended locks"),
    always(libc::SYS_futex, "locks, the roster of devices, dismissals"),
    always(libc::SYS_gettid, "a panic's message names its thread"),
    always(
        libc::SYS_getrandom,
        "seeds of hash maps, that guests must not guess",
    ),
    always(libc::SYS_brk, "heap"),
    always(libc::SYS_mremap, "heap"),
    always(libc::SYS_madvise, "heap, stacks of ended threads"),
    always(
        libc::SYS_clock_gettime,
        "deadlines and the log, where the vDSO cannot answer",
    ),
    always(libc::SYS_restart_syscall, "waiting after a stop signal"),
    always(
        libc::SYS_rt_sigreturn,
        "return from the stack overflow handler",
    ),
    always(
        libc::SYS_rt_sigaction,
        "the stack overflow handler steps aside",
    ),
    always(libc::SYS_exit, "the end of a thread"),
    always(libc::SYS_exit_group, "the end"),
];
