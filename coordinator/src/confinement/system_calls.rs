//! The system calls of the stages, each with its reason. Any other ends the process.
//!
//! Not here, on purpose: a new process or thread, `execve`, sockets but the card's, any change of a file, executable memory, `kill`. Nor
//! is `getrandom`: a signature is verified without random numbers.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

const NOT_EXECUTABLE: When = When::lacks(2, libc::PROT_EXEC);

/// Of both stages.
pub(super) const ALWAYS: &[SystemCall] = &[
    // The links, what is open already, standard error.
    always(
        libc::SYS_read,
        "frames, the release key, the bundle: from what is open",
    ),
    always(libc::SYS_recvfrom, "frames, the bundle"),
    always(libc::SYS_write, "frames, lines on standard error"),
    always(libc::SYS_sendto, "frames"),
    always(libc::SYS_close, "the end of links and files"),
    only(
        libc::SYS_fcntl,
        When::is(1, libc::F_GETFD),
        "the standard library's debug builds look first whether a descriptor is open",
    ),
    // Memory, never executable.
    only(libc::SYS_mmap, NOT_EXECUTABLE, "heap"),
    only(libc::SYS_mprotect, NOT_EXECUTABLE, "heap"),
    always(libc::SYS_munmap, "heap, the stack of signal handlers"),
    always(libc::SYS_mremap, "heap: a bundle that grows"),
    always(libc::SYS_madvise, "heap"),
    always(libc::SYS_brk, "heap"),
    always(
        libc::SYS_futex,
        "locks of the standard library and the cryptographic library",
    ),
    always(
        libc::SYS_sched_getaffinity,
        "the allocator counts processors where the heap cannot grow",
    ),
    always(
        libc::SYS_clock_gettime,
        "deadlines, where the vDSO cannot answer",
    ),
    // The end.
    always(libc::SYS_sigaltstack, "the end of the thread"),
    always(libc::SYS_exit_group, "the end of the process"),
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
        "abort(3) raises SIGABRT: a panic in a panic, no memory",
    ),
];

/// Of a first stage with a file, beyond.
pub(super) const FILE: &[SystemCall] = &[
    only(
        libc::SYS_openat,
        When::lacks(
            2,
            libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
        ),
        "the bundle, to read it; Landlock says where",
    ),
    always(libc::SYS_statx, "whether the bundle is a file"),
];

/// Of a first stage with a way to the verifier, beyond.
pub(super) const CARD: &[SystemCall] = &[
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_UNIX),
        "a link to the card, a new one for each try",
    ),
    always(libc::SYS_connect, "a link to the card"),
    only(
        libc::SYS_setsockopt,
        When::is(1, libc::SOL_SOCKET),
        "deadlines of the link to the card",
    ),
    always(libc::SYS_clock_nanosleep, "waiting between two tries"),
    always(libc::SYS_restart_syscall, "waiting after a stop signal"),
];
