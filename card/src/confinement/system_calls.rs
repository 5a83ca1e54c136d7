//! The system calls of this process once it serves, each with its reason. Any other ends the process.
//!
//! Not here, on purpose: `execve`, `bind`, `listen`, `ptrace`, `kill`, executable memory, a new process.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

const NOT_EXECUTABLE: When = When::lacks(2, libc::PROT_EXEC);

/// Requests of ioctl(2), asm-generic/ioctls.h.
const FIONBIO: u32 = 0x5421;
const FIONREAD: u32 = 0x541b;

/// Calls that the C library does without when told that there is no such call.
pub(super) const ABSENT: &[SystemCall] = &[always(
    libc::SYS_clone3,
    "its flags lie in memory, where no filter can judge them: clone is taken",
)];

/// The calls that are allowed.
pub(super) const ALLOWED: &[SystemCall] = &[
    // The hypervisor, the vault, the verifier.
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_UNIX),
        "the vault, the hypervisor, who waits for this process to serve",
    ),
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_INET),
        "the verifier; Landlock says at which port",
    ),
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_INET6),
        "the verifier; Landlock says at which port",
    ),
    always(libc::SYS_connect, "the vault, the verifier, the hypervisor"),
    always(libc::SYS_accept4, "the hypervisor and operators connect"),
    always(
        libc::SYS_getsockopt,
        "who connected, whether a connection was made",
    ),
    always(
        libc::SYS_setsockopt,
        "deadlines, no delay of small packets, whether the verifier is there",
    ),
    always(libc::SYS_getpeername, "whether a socket is connected"),
    always(libc::SYS_getsockname, "the address of a connection"),
    always(libc::SYS_read, "frames, TLS records, boot counters, wakes"),
    always(libc::SYS_readv, "TLS records"),
    always(libc::SYS_recvfrom, "frames, TLS records"),
    always(
        libc::SYS_write,
        "frames, TLS records, boot counters, wakes, the log",
    ),
    always(libc::SYS_writev, "TLS records"),
    always(libc::SYS_sendto, "frames, TLS records"),
    always(libc::SYS_shutdown, "the end of connections"),
    always(libc::SYS_close, "the end of connections and files"),
    always(libc::SYS_fcntl, "nonblocking sockets"),
    only(libc::SYS_ioctl, When::Is(1, FIONBIO), "nonblocking sockets"),
    // The event loop.
    always(libc::SYS_epoll_ctl, "the event loop"),
    always(libc::SYS_epoll_wait, "the event loop"),
    always(libc::SYS_epoll_pwait, "the event loop"),
    always(libc::SYS_epoll_pwait2, "the event loop"),
    always(libc::SYS_poll, "a connection with a deadline"),
    // Boot counters, the log of operations.
    always(
        libc::SYS_openat,
        "boot counters, the log; Landlock says where",
    ),
    always(libc::SYS_statx, "the size of a boot counter"),
    always(libc::SYS_fstat, "the size of a boot counter"),
    always(libc::SYS_lseek, "the size of a boot counter"),
    always(
        libc::SYS_ftruncate,
        "a record of the log that was not written whole is taken back",
    ),
    always(libc::SYS_fsync, "a boot is counted before it begins"),
    always(libc::SYS_rename, "a new count takes the old one's place"),
    always(
        libc::SYS_unlink,
        "what is known of operators goes where it cannot be replaced",
    ),
    // Threads and memory of this process.
    only(
        libc::SYS_clone,
        When::has(0, libc::CLONE_THREAD),
        "threads that block",
    ),
    only(
        libc::SYS_prctl,
        When::is(0, libc::PR_SET_NAME),
        "a thread's name",
    ),
    only(libc::SYS_mmap, NOT_EXECUTABLE, "stacks, heap"),
    only(libc::SYS_mprotect, NOT_EXECUTABLE, "guard pages, heap"),
    always(libc::SYS_munmap, "stacks, heap"),
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
    always(libc::SYS_getcwd, "a panic's backtrace shortens paths"),
    always(
        libc::SYS_readlink,
        "a panic's backtrace asks for the program",
    ),
    always(libc::SYS_getrandom, "TLS, seeds of hash maps"),
    always(
        libc::SYS_clock_gettime,
        "deadlines and the log, where the vDSO cannot answer",
    ),
    always(
        libc::SYS_clock_nanosleep,
        "waiting until there is a descriptor for the next connection",
    ),
    always(libc::SYS_restart_syscall, "waiting after a stop signal"),
    always(libc::SYS_rt_sigreturn, "SIGTERM was noted"),
    always(libc::SYS_rt_sigaction, "abort(3) resets SIGABRT"),
    always(libc::SYS_getpid, "abort(3) names itself"),
    only(
        libc::SYS_tgkill,
        When::is(2, libc::SIGABRT),
        "abort(3) raises SIGABRT: a panic in a panic, no memory",
    ),
    always(libc::SYS_exit, "the end of a thread"),
    always(libc::SYS_exit_group, "the end"),
];

/// What getaddrinfo(3) needs beyond: only where the verifier is configured by a name.
pub(super) const RESOLVER: &[SystemCall] = &[
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_NETLINK),
        "which address families this host has",
    ),
    always(libc::SYS_bind, "the netlink socket's own address"),
    always(libc::SYS_sendmmsg, "questions to name servers"),
    always(libc::SYS_sendmsg, "questions to the resolver's service"),
    always(libc::SYS_recvmsg, "answers of name servers and the kernel"),
    only(
        libc::SYS_ioctl,
        When::Is(1, FIONREAD),
        "the length of an answer",
    ),
    always(libc::SYS_ppoll, "waiting for an answer"),
    always(libc::SYS_newfstatat, "whether a file was replaced"),
    always(libc::SYS_access, "whether a file is there"),
    always(libc::SYS_pread64, "the resolver's files"),
    always(libc::SYS_uname, "this host's own name"),
    always(libc::SYS_getuid, "whether the environment is believed"),
    always(libc::SYS_geteuid, "whether the environment is believed"),
    always(libc::SYS_getgid, "whether the environment is believed"),
    always(libc::SYS_getegid, "whether the environment is believed"),
];
