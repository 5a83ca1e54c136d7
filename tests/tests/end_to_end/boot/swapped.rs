//! Files are others a moment after they were measured: what runs, and whatever is started later, is what was measured.

use std::fs;

use anyhow::{Context, Result, ensure};
use bartizan_attestation::boot::Phase;
use bartizan_tests::layout::text;
use bartizan_tests::process::Process;
use serde_json::{Value, json};

use super::rig::{Rig, digests};
use super::shut::Vault;
use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[("boot::program_swapped_after_hashing_does_not_run", swapped)];

/// What is started again when it ends, of every phase that starts such. The stages of the coordinator, the second of which came in the
/// bundle, are done by then, and are not started again.
const STARTED_AGAIN: [&str; 4] = [
    "bartizan-vault",
    "bartizan-card",
    "bartizan-devices",
    "bartizan-hypervisor",
];

/// What the hypervisor starts for a guest, by the descriptors that it was handed: that it starts them so,
/// `processes::all_that_a_host_executes_was_measured` shows with guests, which a host that is not enrolled has none of.
const HANDED_OVER: [&str; 3] = [
    "bartizan-supervisor",
    "bartizan-measurer",
    "qemu-system-x86_64",
];

fn swapped(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b4")?;
    let mut releases = rig.describe([1, 1])?;
    let mut copies = Vec::new();
    for name in STARTED_AGAIN.iter().chain(&HANDED_OVER) {
        copies.push(rig.copied(&mut releases, name)?);
    }
    rig.sign(&releases)?;
    rig.boot()?.done()?;
    let booted = rig.vault_describes()?;
    let daemons = STARTED_AGAIN.map(|name| rig.launcher().map(|launcher| launcher.daemon(name)));
    let daemons: Vec<_> = daemons.into_iter().collect::<Result<_>>()?;
    let mut before = Vec::new();
    for daemon in &daemons {
        before.push(daemon.process()?);
        daemon.kill()?;
    }

    // Whoever replaces the files on disk now reaches nothing that is started again.
    for copy in copies {
        fs::write(copy, "#!/bin/sh\nexit 0\n")?;
    }
    fs::write(rig.releases.bundle(), "no bundle")?;
    let socket = rig.layout.path("run/card/card.sock");
    let elsewhere = rig.layout.path("run/card/elsewhere.sock");
    let mut settings: Value = serde_json::from_str(&fs::read_to_string(&rig.configs.card)?)?;
    settings["socket"] = json!(text(&elsewhere)?);
    fs::write(&rig.configs.card, settings.to_string())?;
    fs::remove_file(&socket)?;

    for daemon in &daemons {
        daemon.start_again()?;
    }
    let launcher = rig.launcher()?.process()?;
    for ((name, daemon), before) in STARTED_AGAIN.iter().zip(&daemons).zip(before) {
        let after = daemon.process()?;
        ensure!(after != before, "{name} was not started again");
        let executed = after.mapped(measured(launcher, name)?)?;
        ensure!(executed.contains(&'x'), "another {name} runs: {executed:?}");
    }
    let hypervisor = rig.launcher()?.daemon("bartizan-hypervisor").process()?;
    for name in HANDED_OVER {
        let handed = measured(hypervisor, name)?;
        ensure!(handed == measured(launcher, name)?, "another {name}");
    }
    ensure!(
        socket.exists() && !elsewhere.exists(),
        "the card took other settings"
    );
    ensure!(rig.vault_describes()? == booted, "another boot");
    rig.end()?;

    // A boot measures what is there now.
    let why = rig.boot()?.stopped()?;
    ensure!(
        why.contains("`bartizan-vault`") && digests(&why) >= 2,
        "{why}"
    );
    rig.shut_after(Phase::Card, Vault::NotStarted, "a swapped vault")?;
    rig.end()
}

/// The sealed memory into which the launcher hashed a file, as one of those that have it: its inode number.
fn measured(holder: Process, name: &str) -> Result<u64> {
    let memory = holder.inode_of(&format!("/memfd:measured/{name} (deleted)"))?;
    memory.with_context(|| format!("no measured {name}"))
}
