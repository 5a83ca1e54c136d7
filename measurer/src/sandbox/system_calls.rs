//! The system calls that serving needs, each with its reason. Everything else kills the process.

use bartizan_confinement::system_call::{SystemCall, When, always, only};
use bartizan_write_tracking::REQUESTS;

const NOT_EXECUTABLE: When = When::lacks(2, libc::PROT_EXEC);

/// The table; with the requests that tracking makes, where it does.
pub(super) fn allowed(tracks: bool) -> Vec<SystemCall> {
    let requests = tracks.then_some(REQUESTS).into_iter().flatten();
    let requests =
        requests.map(|(request, reason)| only(libc::SYS_ioctl, When::Is(1, request), reason));
    ALWAYS.iter().cloned().chain(requests).collect()
}

const ALWAYS: &[SystemCall] = &[
    // The supervisor.
    always(libc::SYS_read, "frames from the supervisor"),
    always(libc::SYS_recvfrom, "frames from the supervisor"),
    always(libc::SYS_write, "frames to the supervisor, log lines"),
    always(libc::SYS_sendto, "frames to the supervisor"),
    always(
        libc::SYS_poll,
        "waiting for the supervisor, with a deadline",
    ),
    always(
        libc::SYS_ppoll,
        "waiting for the supervisor, with a deadline",
    ),
    always(libc::SYS_close, "the socket at the end"),
    only(
        libc::SYS_fcntl,
        When::is(1, libc::F_GETFD),
        "the standard library's debug builds look first whether a descriptor is open",
    ),
    // Memory, never executable.
    only(libc::SYS_mmap, NOT_EXECUTABLE, "heap, snapshot buffers"),
    only(libc::SYS_mprotect, NOT_EXECUTABLE, "heap"),
    always(libc::SYS_munmap, "heap, snapshot buffers"),
    always(libc::SYS_mremap, "heap"),
    always(libc::SYS_brk, "heap"),
    always(
        libc::SYS_madvise,
        "snapshot buffers are kept out of core dumps and made present; heap is given back",
    ),
    always(libc::SYS_mlock, "snapshot buffers are kept out of swap"),
    always(
        libc::SYS_futex,
        "locks of the standard library, the allocator and the cryptographic library",
    ),
    always(libc::SYS_getrandom, "new report keys, signatures"),
    always(
        libc::SYS_clock_gettime,
        "deadlines, where the vDSO cannot answer",
    ),
    // The end.
    always(libc::SYS_sigaltstack, "the end of the thread"),
    always(libc::SYS_exit, "the end of the thread"),
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
        "abort(3) raises SIGABRT: a panic, no memory",
    ),
];
