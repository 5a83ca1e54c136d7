//! The system calls of this process once it serves, each with its reason. Any other ends the process.
//!
//! Not here, on purpose: `execve`, `open*`, `bind`, `listen`, `ptrace`, `process_vm_*`, `userfaultfd`, `bpf`,
//! `io_uring_*`, `prctl` but for a thread's name, executable memory, a new process.

/// A system call that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    /// Its number.
    pub number: i64,
    /// Under which condition.
    pub when: When,
    /// What for.
    pub reason: &'static str,
}

/// A condition on the low 32 bits of one argument (counted from zero).
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// None.
    Always,
    /// It is this value.
    ArgumentIs(u8, u64),
    /// None of these bits are set.
    ArgumentLacks(u8, u64),
    /// All of these bits are set.
    ArgumentHas(u8, u64),
}

const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;
const UNIX: u64 = libc::AF_UNIX as u64;
const SET_NAME: u64 = libc::PR_SET_NAME as u64;

/// Calls that the C library makes by itself and does without when told that there is no such call.
pub const ABSENT: &[Syscall] = &[
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
pub const ALLOWED: &[Syscall] = &[
    // Control connections.
    always(libc::SYS_accept4, "supervisors connect"),
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
        When::ArgumentLacks(2, EXECUTABLE),
        "guests' RAM, stacks, heap",
    ),
    only(
        libc::SYS_mprotect,
        When::ArgumentLacks(2, EXECUTABLE),
        "guard pages, heap",
    ),
    always(libc::SYS_munmap, "guests' RAM, stacks, heap"),
    always(libc::SYS_lseek, "the size of a RAM file"),
    always(libc::SYS_fstat, "the size of a RAM file"),
    always(libc::SYS_fcntl, "seals of RAM files, nonblocking kicks"),
    // The event loop.
    always(libc::SYS_epoll_create1, "a device's event loop"),
    always(libc::SYS_epoll_ctl, "a device's event loop"),
    always(libc::SYS_epoll_wait, "a device's event loop"),
    always(libc::SYS_epoll_pwait, "a device's event loop"),
    always(libc::SYS_epoll_pwait2, "a device's event loop"),
    always(libc::SYS_ioctl, "FIONBIO on links"),
    always(libc::SYS_read, "kicks"),
    always(libc::SYS_write, "signals to guests, the log"),
    always(libc::SYS_pread64, "the journal"),
    always(libc::SYS_pwrite64, "the journal"),
    // The host's services.
    only(
        libc::SYS_socket,
        When::ArgumentIs(0, UNIX),
        "connections to services",
    ),
    always(libc::SYS_connect, "connections to services"),
    always(libc::SYS_recvfrom, "data of services"),
    always(libc::SYS_sendto, "data to services"),
    always(libc::SYS_shutdown, "half-closed connections"),
    always(libc::SYS_close, "the end of connections and devices"),
    // Threads and memory of this process.
    only(
        libc::SYS_clone,
        When::ArgumentHas(0, THREAD),
        "a thread for each device",
    ),
    only(
        libc::SYS_prctl,
        When::ArgumentIs(0, SET_NAME),
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
    always(libc::SYS_futex, "locks, the roster of devices"),
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

const fn always(number: i64, reason: &'static str) -> Syscall {
    Syscall {
        number,
        when: When::Always,
        reason,
    }
}

const fn only(number: i64, when: When, reason: &'static str) -> Syscall {
    Syscall {
        number,
        when,
        reason,
    }
}
