//! QEMU: a guest that escaped into it reaches no file, no socket and no process.

use std::path::Path;

use bartizan_confinement::{Filter, Rules};

use super::ConfinementError;
use super::paths::{is_measured, to_execute, to_look_around, to_run_qemu};
use super::system_calls::{ABSENT, qemu};
use crate::qemu::accelerator::{Accelerator, KVM};
use crate::qemu::process::Restrictions;

/// For a QEMU that is about to be started. Nothing is writable by a path but what is no file: disks, RAM, images and
/// sockets come as descriptors.
pub fn restrictions(
    program: &Path,
    accelerator: Accelerator,
) -> Result<Restrictions, ConfinementError> {
    // What was measured was handed over: nothing on disk is part of it.
    let rules = if is_measured(program) {
        to_look_around(Rules::none())
    } else {
        to_run_qemu(to_execute(Rules::none(), [program]), program)
    };
    let rules = match accelerator {
        Accelerator::Kvm => rules.grant(KVM, bartizan_confinement::Rights::Write),
        Accelerator::Tcg => rules,
    };
    Ok(Restrictions {
        domain: rules.domain()?,
        filter: Filter::all_but(&qemu(), ABSENT)?,
    })
}
