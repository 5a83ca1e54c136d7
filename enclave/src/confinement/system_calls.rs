//! The system calls of the enclave once its ports are open, each with its reason. Any other ends it.
//!
//! Not here, on purpose: `openat`, `socket`, `execve`, `mount`, `finit_module`, `ptrace`, executable memory, threads, processes.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

const NOT_EXECUTABLE: When = When::lacks(2, libc::PROT_EXEC);

/// Calls that are answered as if there were none such.
pub(super) const ABSENT: &[SystemCall] = &[always(
    libc::SYS_readlink,
    "a panic's backtrace asks for the program",
)];

/// The calls that are allowed.
pub(super) const ALLOWED: &[SystemCall] = &[
    always(libc::SYS_read, "the ports, wakes"),
    always(libc::SYS_write, "the ports, wakes, the console"),
    always(libc::SYS_writev, "the console"),
    always(libc::SYS_close, "the end"),
    always(libc::SYS_epoll_ctl, "the event loop"),
    always(libc::SYS_epoll_wait, "the event loop"),
    always(libc::SYS_epoll_pwait, "the event loop"),
    always(libc::SYS_epoll_pwait2, "the event loop"),
    only(libc::SYS_mmap, NOT_EXECUTABLE, "heap"),
    only(libc::SYS_mprotect, NOT_EXECUTABLE, "heap"),
    always(libc::SYS_munmap, "heap"),
    always(libc::SYS_mremap, "heap"),
    always(libc::SYS_madvise, "heap"),
    always(libc::SYS_brk, "heap"),
    always(libc::SYS_sigaltstack, "the end"),
    always(libc::SYS_rt_sigprocmask, "abort(3)"),
    always(libc::SYS_rt_sigaction, "abort(3)"),
    always(libc::SYS_rt_sigreturn, "the end of a signal's handler"),
    always(
        libc::SYS_restart_syscall,
        "waiting after the machine was stopped",
    ),
    always(libc::SYS_sched_yield, "contended locks"),
    always(libc::SYS_futex, "locks"),
    always(libc::SYS_gettid, "a panic's message names its thread"),
    always(libc::SYS_getpid, "abort(3) names itself"),
    always(libc::SYS_getcwd, "a panic's backtrace shortens paths"),
    always(libc::SYS_getrandom, "TLS, seeds of hash maps"),
    always(
        libc::SYS_clock_gettime,
        "deadlines, certificates' times, the log, where the vDSO cannot answer",
    ),
    only(
        libc::SYS_tgkill,
        When::is(2, libc::SIGABRT),
        "abort(3) raises SIGABRT: a panic in a panic, no memory",
    ),
    always(libc::SYS_reboot, "the machine's end"),
    always(libc::SYS_exit, "the end"),
    always(libc::SYS_exit_group, "the end"),
];
