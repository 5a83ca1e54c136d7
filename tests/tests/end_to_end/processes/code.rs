//! Where the code of a host's processes comes from.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bartizan_tests::process::Process;

use crate::world::World;

/// Everything that a process of the host executes is a file that the launcher measured: its program, its loader, its libraries. The
/// launcher itself is linked statically; QEMU under TCG executes what it has translated, too, which has no file.
pub(super) fn is_measured(world: &mut World) -> Result<()> {
    let (stack, _) = world.web()?;
    let mut left = stack.host.launcher.process()?.children()?;
    // It outlives the hypervisor that started it, and then is nobody's child there.
    let shown = stack.operator.must(&["vm", "show", "web"])?;
    left.push(Process::of_json(&shown["qemu_pid"])?.parent()?);
    let mut programs = BTreeSet::new();
    while let Some(process) = left.pop() {
        left.extend(process.children()?);
        let program = process.program()?;
        let of = format!("/memfd:measured/{program}");
        let executed = process.executed()?;
        ensure!(executed.len() > 2, "{program}: {executed:?}");
        for path in executed {
            let measured = path.starts_with("/memfd:measured/");
            ensure!(measured, "{program} executes {path}");
            // A library that several programs have in common is called after the first of them.
            let own = path.starts_with(&of) || path.contains("/lib/") || path.contains("/modules/");
            ensure!(own, "{program} executes {path}");
        }
        programs.insert(program);
    }
    for wanted in [
        "bartizan-vault",
        "bartizan-card",
        "bartizan-devices",
        "bartizan-hypervisor",
        "bartizan-supervisor",
        "bartizan-measurer",
        "bartizan-keeper",
        "qemu-system-x86_64",
    ] {
        ensure!(programs.contains(wanted), "no {wanted} runs: {programs:?}");
    }
    Ok(())
}
