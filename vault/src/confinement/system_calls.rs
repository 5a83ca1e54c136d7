//! The system calls that serving needs, each with its reason. Everything else kills the process.
//!
//! Threads are all started before the filter: neither clone nor a new socket is in the table.

use libc::c_long;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// One system call, and with which arguments.
pub(super) struct Allowed {
    pub(super) number: c_long,
    only: Option<Argument>,
}

/// What an argument, of 32 bits, must be.
struct Argument {
    /// Counted from 0.
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
}

const F_GETFD: Argument = equal(1, libc::F_GETFD);
const SIGABRT: Argument = equal(2, libc::SIGABRT);
const SOL_SOCKET: Argument = equal(1, libc::SOL_SOCKET);
const NOT_EXECUTABLE: Argument = without(2, libc::PROT_EXEC);

/// The table.
pub(super) const ALLOWED: &[Allowed] = &[
    // Connections: taken, their peer's user asked, their deadlines set.
    any(libc::SYS_accept4),
    only(libc::SYS_getsockopt, SOL_SOCKET),
    only(libc::SYS_setsockopt, SOL_SOCKET),
    // Frames; log lines; the notification that the process serves.
    any(libc::SYS_read),
    any(libc::SYS_recvfrom),
    any(libc::SYS_write),
    any(libc::SYS_sendto),
    // Replacing the store; Landlock says where.
    any(libc::SYS_openat),
    any(libc::SYS_fsync),
    any(libc::SYS_rename),
    any(libc::SYS_close),
    // The standard library's debug builds look first whether a descriptor is open.
    only(libc::SYS_fcntl, F_GETFD),
    // The heap; never executable memory.
    only(libc::SYS_mmap, NOT_EXECUTABLE),
    only(libc::SYS_mprotect, NOT_EXECUTABLE),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_brk),
    // Locks of the standard library, the allocator and the cryptographic library.
    any(libc::SYS_futex),
    // Randomness for keys and signatures.
    any(libc::SYS_getrandom),
    // Time, where the vDSO cannot answer.
    any(libc::SYS_clock_gettime),
    // Waiting until there is a descriptor for the next connection.
    any(libc::SYS_clock_nanosleep),
    // The allocator, asked for a heap a thread.
    any(libc::SYS_sched_getaffinity),
    any(libc::SYS_sched_yield),
    // The orderly end of the process.
    any(libc::SYS_exit_group),
    // A signal that stops and continues the process (a debugger is not meant: it cannot attach).
    any(libc::SYS_restart_syscall),
    // A panic or an allocation failure: abort(3) unblocks and raises SIGABRT.
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_getpid),
    any(libc::SYS_gettid),
    only(libc::SYS_tgkill, SIGABRT),
];

impl Allowed {
    /// The rules of which one must match; none: any arguments.
    pub(super) fn rules(&self) -> Result<Vec<SeccompRule>, BackendError> {
        let rule = |argument: &Argument| {
            let Argument {
                index,
                operator,
                value,
            } = argument;
            let length = SeccompCmpArgLen::Dword;
            let condition = SeccompCondition::new(*index, length, operator.clone(), *value)?;
            SeccompRule::new(vec![condition])
        };
        self.only.iter().map(rule).collect()
    }
}

const fn any(number: c_long) -> Allowed {
    Allowed { number, only: None }
}

const fn only(number: c_long, argument: Argument) -> Allowed {
    Allowed {
        number,
        only: Some(argument),
    }
}

const fn equal(index: u8, value: i32) -> Argument {
    Argument {
        index,
        operator: SeccompCmpOp::Eq,
        value: value.unsigned_abs() as u64,
    }
}

const fn without(index: u8, bits: i32) -> Argument {
    Argument {
        index,
        operator: SeccompCmpOp::MaskedEq(bits.unsigned_abs() as u64),
        value: 0,
    }
}
