//! The enclave hangs, under traffic: nothing ends, no link is closed, and it answers no more.

use anyhow::{Context, Result, ensure};
use bartizan_tests::network::{Kept, SOON};
use bartizan_tests::process::Process;

use super::killed::{LONG, back, rules, while_away};
use crate::world::World;

/// Its machine stands still: its keeper starts another.
pub(super) fn machine_stands_still(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&rules())?;
    let kept = Kept::open(networked.client, LONG)?;
    ensure!(networked.echo()?, "no echo, which a rule allows");
    let qemu = networked.stack.host.enclave()?;
    let ended = qemu.end()?;
    qemu.stop()?;
    ended.wait(SOON).context("its keeper has not noticed")?;
    back(&mut networked, &kept, "the enclave that hung")?;
    let another = networked.stack.host.enclave()?;
    ensure!(another != qemu, "the same machine");
    kept.close(networked.client)
}

/// Its link is open and silent, since what moves the bytes stands still: it is no fault of the machine's, which goes on afterwards.
pub(super) fn link_is_silent(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&rules())?;
    let kept = Kept::open(networked.client, LONG)?;
    ensure!(networked.echo()?, "no echo, which a rule allows");
    let qemu = networked.stack.host.enclave()?;
    let keeper = Process::of(networked.stack.host.keeper().pid()?)?;
    keeper.stop()?;
    let away = while_away(&mut networked, &kept);
    // Whatever came out: the other cases need it.
    keeper.go_on()?;
    away?;
    back(&mut networked, &kept, "the link that was silent")?;
    let same = networked.stack.host.enclave()?;
    ensure!(same == qemu, "another machine was started");
    kept.close(networked.client)
}
