//! The system calls of this process once it serves, each with its reason. Any other ends the process.
//!
//! Not here, on purpose: `execve`, sockets of a network (those that it listens at are there already), `ptrace`, `kill`,
//! executable memory, a new process.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

const NOT_EXECUTABLE: When = When::lacks(2, libc::PROT_EXEC);

/// A request of ioctl(2), asm-generic/ioctls.h.
const FIONBIO: u32 = 0x5421;

/// Calls that the C library does without when told that there is no such call.
pub(super) const ABSENT: &[SystemCall] = &[always(
    libc::SYS_clone3,
    "its flags lie in memory, where no filter can judge them: clone is taken",
)];

/// The calls that are allowed.
pub(super) const ALLOWED: &[SystemCall] = &[
    // Hosts and operators, the vault.
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_UNIX),
        "the vault, who waits for this process to serve",
    ),
    always(libc::SYS_connect, "the vault"),
    always(libc::SYS_accept4, "hosts and operators connect"),
    always(libc::SYS_getsockopt, "whether a connection was made"),
    always(libc::SYS_setsockopt, "no delay of small packets, deadlines"),
    always(libc::SYS_getpeername, "the address of a connection"),
    always(libc::SYS_getsockname, "the address of a connection"),
    always(libc::SYS_read, "frames, TLS records, the database, wakes"),
    always(libc::SYS_readv, "TLS records"),
    always(libc::SYS_recvfrom, "frames, TLS records"),
    always(
        libc::SYS_write,
        "frames, TLS records, the database, wakes, the log",
    ),
    always(libc::SYS_writev, "TLS records"),
    always(libc::SYS_sendto, "frames, TLS records"),
    always(libc::SYS_shutdown, "the end of connections"),
    always(libc::SYS_close, "the end of connections and files"),
    always(
        libc::SYS_fcntl,
        "locks of the database, nonblocking sockets",
    ),
    only(libc::SYS_ioctl, When::Is(1, FIONBIO), "nonblocking sockets"),
    // The event loop.
    always(libc::SYS_epoll_ctl, "the event loop"),
    always(libc::SYS_epoll_wait, "the event loop"),
    always(libc::SYS_epoll_pwait, "the event loop"),
    always(libc::SYS_epoll_pwait2, "the event loop"),
    always(libc::SYS_poll, "the vault, with a deadline"),
    // The database; Landlock says where.
    always(libc::SYS_openat, "the database and its journals"),
    always(libc::SYS_stat, "the database and its journals"),
    always(libc::SYS_lstat, "no link in the database's path"),
    always(libc::SYS_newfstatat, "the database and its journals"),
    always(libc::SYS_statx, "the database and its journals"),
    always(libc::SYS_fstat, "the database and its journals"),
    always(libc::SYS_access, "whether a journal is there"),
    always(libc::SYS_readlink, "no link in the database's path"),
    always(libc::SYS_getcwd, "the database's whole path"),
    always(libc::SYS_lseek, "the database and its journals"),
    always(libc::SYS_pread64, "the database and its journals"),
    always(libc::SYS_pwrite64, "the database and its journals"),
    always(libc::SYS_ftruncate, "the index of the journal"),
    always(libc::SYS_fallocate, "the index of the journal"),
    always(libc::SYS_fsync, "what is acknowledged is on disk"),
    always(libc::SYS_fdatasync, "what is acknowledged is on disk"),
    always(libc::SYS_unlink, "a journal that is done with"),
    always(libc::SYS_fchmod, "a journal is as readable as the database"),
    always(
        libc::SYS_fchown,
        "a journal is the database's owner's, where root runs this",
    ),
    always(libc::SYS_geteuid, "whether root runs this"),
    always(libc::SYS_getpid, "the database sees forks; abort(3)"),
    // Threads and memory of this process.
    only(
        libc::SYS_clone,
        When::has(0, libc::CLONE_THREAD),
        "threads that block, one a database connection",
    ),
    only(
        libc::SYS_prctl,
        When::is(0, libc::PR_SET_NAME),
        "a thread's name",
    ),
    only(
        libc::SYS_mmap,
        NOT_EXECUTABLE,
        "stacks, heap, the index of the journal",
    ),
    only(libc::SYS_mprotect, NOT_EXECUTABLE, "guard pages, heap"),
    always(libc::SYS_munmap, "stacks, heap, the index of the journal"),
    always(libc::SYS_mremap, "heap"),
    always(libc::SYS_madvise, "heap, stacks of ended threads"),
    always(libc::SYS_brk, "heap"),
    always(libc::SYS_set_robust_list, "start of a thread"),
    always(libc::SYS_rseq, "start of a thread"),
    always(libc::SYS_sigaltstack, "start and end of a thread"),
    always(
        libc::SYS_rt_sigprocmask,
        "start and end of a thread, abort(3)",
    ),
    always(
        libc::SYS_sched_getaffinity,
        "the allocator counts processors",
    ),
    always(libc::SYS_sched_yield, "contended locks"),
    always(libc::SYS_futex, "locks, waiting threads"),
    always(libc::SYS_gettid, "a panic's message names its thread"),
    always(libc::SYS_getrandom, "nonces, TLS, seeds of hash maps"),
    always(
        libc::SYS_clock_gettime,
        "deadlines and the log, where the vDSO cannot answer",
    ),
    always(libc::SYS_clock_nanosleep, "a database that is busy"),
    always(libc::SYS_restart_syscall, "waiting after a stop signal"),
    always(libc::SYS_rt_sigreturn, "SIGTERM was noted"),
    always(libc::SYS_rt_sigaction, "abort(3) resets SIGABRT"),
    only(
        libc::SYS_tgkill,
        When::is(2, libc::SIGABRT),
        "abort(3) raises SIGABRT: a panic in a panic, no memory",
    ),
    always(libc::SYS_exit, "the end of a thread"),
    always(libc::SYS_exit_group, "the end"),
];
