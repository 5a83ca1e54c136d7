//! What a vault with a TPM needs beyond the table of serving: speaking to it, and connecting to it anew.

use bartizan_confinement::system_call::{SystemCall, When, always, only};

/// For a device.
pub(super) const DEVICE: &[SystemCall] = &[always(libc::SYS_poll, "answers of the TPM"), LOADER];

/// For swtpm.
pub(super) const SWTPM: &[SystemCall] = &[
    only(
        libc::SYS_socket,
        When::is(0, libc::AF_INET),
        "each command has its own connection; Landlock says to which ports, UDP is not guarded",
    ),
    only(libc::SYS_socket, When::is(0, libc::AF_INET6), "likewise"),
    always(libc::SYS_connect, "likewise"),
    always(libc::SYS_poll, "answers of the TPM"),
    LOADER,
];

const LOADER: SystemCall = always(
    libc::SYS_newfstatat,
    "libtss2-tctildr looks for its library by several names before it finds the one that is loaded",
);
