//! QEMU: a guest that escaped into it reaches no file, no socket and no process.

use std::path::Path;

use bartizan_confinement::{Filter, Rights, Rules};

use super::ConfinementError;
use super::paths::{is_measured, to_execute, to_look_around, to_run_qemu};
use super::system_calls::{ABSENT, LINKS, qemu};
use crate::qemu::accelerator::{Accelerator, KVM};
use crate::qemu::process::Restrictions;

/// How QEMU comes to the link of a vhost-user network device.
///
/// QEMU 7.2 takes a link that can carry descriptors, as one to such a device must, only where it connected to a path itself: of a
/// descriptor that it inherits it does not look what it is (chardev/char-socket.c). But a QEMU that its guest took over must
/// reach no socket of the host. So it is let believe that it connected: its standard input is the link, `socket` answers 0 to
/// it, which is that one's number, and `connect` answers that it is done. Neither does anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VhostLink {
    /// It has none.
    None,
    /// Its standard input is the link.
    StandardInput,
}

/// For a QEMU that is about to be started. Nothing is writable by a path but what is no file: disks, RAM, images and
/// sockets come as descriptors. `preloaded` is a library that lies on disk.
///
/// Of `/dev/userfaultfd` it may make a userfaultfd, where it is started with that: the device was opened where it is granted, and keeps
/// that (Landlock looks at ioctl(2) by the open file). When its `main` begins, it has neither any more.
pub fn restrictions(
    program: &Path,
    preloaded: Option<&Path>,
    accelerator: Accelerator,
    link: VhostLink,
) -> Result<Restrictions, ConfinementError> {
    // What was measured was handed over: nothing on disk is part of it.
    let rules = if is_measured(program) {
        to_look_around(Rules::none())
    } else {
        to_run_qemu(to_execute(Rules::none(), [program]), program)
    };
    let rules = rules.grant_any(preloaded, Rights::Read);
    let rules = match accelerator {
        Accelerator::Kvm => rules.grant(KVM, Rights::Write),
        Accelerator::Tcg => rules,
    };
    let filter = Filter::all_but(&qemu(link), ABSENT)?;
    let filter = match link {
        VhostLink::None => filter,
        VhostLink::StandardInput => filter.skipping(LINKS)?,
    };
    Ok(Restrictions {
        domain: rules.domain()?,
        filter,
    })
}
