//! What a vault with a token needs beyond the table of serving: what SoftHSM does with its files, and initialising it
//! anew. Other modules may need more; they are not known.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

/// The table.
pub(super) const ALLOWED: &[SystemCall] = &[
    only(
        libc::SYS_fcntl,
        When::is(1, libc::F_SETLK),
        "locks on the token's files are given up",
    ),
    only(
        libc::SYS_fcntl,
        When::is(1, libc::F_SETLKW),
        "locks on the token's files are taken",
    ),
    only(
        libc::SYS_fcntl,
        When::is(1, libc::F_GETFL),
        "the C library's streams look how a descriptor was opened",
    ),
    always(libc::SYS_newfstatat, "the token's files and their sizes"),
    always(libc::SYS_lseek, "reading and writing objects"),
    always(libc::SYS_ftruncate, "objects are written anew"),
    always(
        libc::SYS_getdents64,
        "which objects and tokens there are; Landlock says where",
    ),
    always(
        libc::SYS_unlink,
        "objects that are destroyed; Landlock says where",
    ),
];

/// What a module needs beyond that which reaches its token through another process, as p11-kit's does.
pub(super) const CONNECTING: &[SystemCall] = &[
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_UNIX),
        "another connection, after the process that has the token ended",
    ),
    always(libc::SYS_connect, "likewise"),
];

/// What fails without an end of the process.
pub(super) const ABSENT: &[SystemCall] = &[always(
    libc::SYS_socket,
    "syslog(3), which SoftHSM tells its errors to; the vault logs them itself",
)];
