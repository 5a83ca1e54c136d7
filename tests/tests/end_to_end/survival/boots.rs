//! kill -9 of a guest's own processes: what dies with them, and what comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec, Stack};
use uuid::Uuid;

use super::{NGINX, RECOVERY, affirmed, listed, measurer_of};
use crate::world::World;

/// How long a guest may take to boot again.
const REBOOT: Duration = Duration::from_secs(240);

/// A new boot is a new identity: the old one's key is worth nothing in it.
pub(super) fn new_identity(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let mut phoenix = stack.host.boot(&GuestSpec {
        restart: "on-failure",
        ..GuestSpec::small("phoenix")
    })?;
    let before = affirmed_by_identity(stack, &mut phoenix)?;
    phoenix
        .agent
        .must("rm -rf /root/former && cp -r /run/bartizan /root/former && sync")?;
    Process::of_json(&stack.operator.must(&["vm", "show", "phoenix"])?["qemu_pid"])?.kill()?;
    phoenix.agent = phoenix.door.wait(REBOOT)?;
    let after = affirmed_by_identity(stack, &mut phoenix)?;
    let (before_vm, before_boot) = before.rsplit_once(':').context("a guest's URN")?;
    let (after_vm, after_boot) = after.rsplit_once(':').context("a guest's URN")?;
    ensure!(
        before_vm == after_vm && before_boot.parse::<u64>()? + 1 == after_boot.parse::<u64>()?,
        "{before} became {after}"
    );
    let (code, answer) = phoenix.attest(&format!("{NGINX} --state /root/former"))?;
    ensure!(
        code == Some(1) && answer["error"].to_string().contains("wrong-signer"),
        "the former identity: {code:?} {answer}"
    );
    stack.operator.must(&["vm", "stop", "--force", "phoenix"])?;
    Ok(())
}

/// The identity that a guest has and attests under.
fn affirmed_by_identity(stack: &Stack, guest: &mut Guest) -> Result<String> {
    let verdict = affirmed(guest)?;
    let shown = stack.operator.must(&["vm", "show", &guest.name])?;
    let verdict = stack.operator.must(&["verdict", "show", &verdict])?;
    ensure!(verdict["guest"] == shown["guest"], "{verdict} of {shown}");
    Ok(shown["guest"].as_str().context("a guest's URN")?.to_owned())
}

pub(super) fn no_orphan(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let record = stack
        .host
        .record(&GuestSpec::small("orphan"), Uuid::new_v4())?;
    let started = stack.operator.must(&["vm", "run", &record])?;
    let qemu = Process::of_json(&started["qemu_pid"])?;
    let measurer = measurer_of(stack, "orphan")?;
    let supervisor = qemu.parent()?;
    ensure!(supervisor.program()? == "bartizan-supervisor");
    let ends = [supervisor, qemu, measurer].map(Process::end);
    supervisor.kill()?;
    for end in ends {
        end?.wait(RECOVERY)?;
    }
    let deadline = Instant::now() + RECOVERY;
    while listed(stack, "orphan")?.is_some() {
        ensure!(Instant::now() < deadline, "the guest is still listed");
    }
    Ok(())
}

/// A stopped supervisor is not a dead one, for the daemon that follows it and for one that finds it.
pub(super) fn stalled(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let stalled = stack.host.boot(&GuestSpec {
        restart: "always",
        ..GuestSpec::small("stalled")
    })?;
    let shown = stack.operator.must(&["vm", "show", "stalled"])?;
    let qemu = Process::of_json(&shown["qemu_pid"])?;
    let supervisor = qemu.parent()?;
    supervisor.stop()?;
    stack.host.hypervisor.kill()?;
    stack.host.hypervisor.start_again()?;
    let state = |stack: &Stack| {
        let shown = stack.operator.must(&["vm", "show", "stalled"])?;
        ensure!(shown["guest"] == listed(stack, "stalled")?.context("a guest")?["guest"]);
        Ok::<_, anyhow::Error>(shown["state"].clone())
    };
    ensure!(state(stack)? == "unresponsive");
    supervisor.go_on()?;
    let deadline = Instant::now() + RECOVERY;
    while state(stack)? != "running" {
        ensure!(Instant::now() < deadline, "it is not taken up again");
    }
    let again = stack.operator.must(&["vm", "show", "stalled"])?;
    ensure!(again == shown, "was {shown}, is {again}");

    supervisor.stop()?;
    let ends = [supervisor.end()?, qemu.end()?];
    stack.operator.must(&["vm", "stop", "--force", "stalled"])?;
    for end in ends {
        end.wait(RECOVERY)?;
    }
    ensure!(listed(stack, "stalled")?.is_none(), "it is still listed");
    drop(stalled);
    Ok(())
}
