//! The system calls that serving needs, each with its reason. Everything else kills the process.
//!
//! Threads are all started before the filter: neither clone nor a new socket is in the table.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

const NOT_EXECUTABLE: When = When::lacks(2, libc::PROT_EXEC);
const SOL_SOCKET: When = When::is(1, libc::SOL_SOCKET);

/// The table.
pub(super) const ALLOWED: &[SystemCall] = &[
    // Connections.
    always(libc::SYS_accept4, "connections are taken"),
    only(libc::SYS_getsockopt, SOL_SOCKET, "the peer's user is asked"),
    only(libc::SYS_setsockopt, SOL_SOCKET, "deadlines are set"),
    always(libc::SYS_read, "frames, the store"),
    always(libc::SYS_recvfrom, "frames"),
    always(libc::SYS_write, "frames, the store, log lines"),
    always(
        libc::SYS_sendto,
        "frames, the notification that the process serves",
    ),
    always(
        libc::SYS_clock_nanosleep,
        "waiting until there is a descriptor for the next connection",
    ),
    // Replacing the store.
    always(
        libc::SYS_openat,
        "the store, its folder; Landlock says where",
    ),
    always(libc::SYS_fsync, "the store, its folder"),
    always(
        libc::SYS_rename,
        "the new store takes the old one's place; Landlock says where",
    ),
    always(libc::SYS_close, "the store, connections"),
    only(
        libc::SYS_fcntl,
        When::is(1, libc::F_GETFD),
        "the standard library's debug builds look first whether a descriptor is open",
    ),
    always(
        libc::SYS_statx,
        "who may read the passphrase's file, which is read again when the sealing key is rotated",
    ),
    // Memory, never executable.
    only(libc::SYS_mmap, NOT_EXECUTABLE, "heap"),
    only(libc::SYS_mprotect, NOT_EXECUTABLE, "heap"),
    always(libc::SYS_munmap, "heap"),
    always(libc::SYS_mremap, "heap"),
    always(libc::SYS_madvise, "heap"),
    always(libc::SYS_brk, "heap"),
    always(
        libc::SYS_futex,
        "locks of the standard library, the allocator and the cryptographic library",
    ),
    always(
        libc::SYS_sched_getaffinity,
        "the allocator counts processors, for a heap a thread",
    ),
    always(libc::SYS_sched_yield, "contended locks"),
    always(libc::SYS_getrandom, "keys, signatures"),
    always(
        libc::SYS_clock_gettime,
        "time, where the vDSO cannot answer",
    ),
    // The end.
    always(libc::SYS_exit_group, "the end of the process"),
    always(
        libc::SYS_restart_syscall,
        "a stop signal and its end; a debugger is not meant, it cannot attach",
    ),
    always(libc::SYS_rt_sigprocmask, "abort(3) unblocks SIGABRT"),
    always(libc::SYS_rt_sigaction, "abort(3) resets SIGABRT"),
    always(
        libc::SYS_rt_sigreturn,
        "return from the stack overflow handler",
    ),
    always(libc::SYS_getpid, "abort(3) names itself"),
    always(libc::SYS_gettid, "abort(3) and panics name the thread"),
    only(
        libc::SYS_tgkill,
        When::is(2, libc::SIGABRT),
        "abort(3) raises SIGABRT: a panic, no memory",
    ),
];
