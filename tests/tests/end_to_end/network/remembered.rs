//! What the enclave remembers when its machine is started again: the last set rules though the verifier is away, and an older state is none.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bartizan_tests::network::{SOON, pages_only};
use bartizan_tests::process::Process;
use serde_json::json;

use super::Networked;
use crate::world::World;

/// Boot with the verifier away: the last sealed set rules.
pub(super) fn without_verifier(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&pages_only())?;
    networked.stack.verifier.kill()?;
    let alone = started_again(&mut networked).and_then(|()| {
        until_a_page(&mut networked)?;
        ensure!(!networked.echo()?, "an echo, which no rule allows");
        Ok(())
    });
    // Whatever came out: the other cases need it.
    networked.stack.verifier.start_again()?;
    alone?;
    // What comes then rules as ever.
    networked.apply(&json!([]))?;
    ensure!(!networked.page(5)?, "a page, which nothing allows any more");
    Ok(())
}

/// Known attack: whoever has the host's disk puts the card's files of an older state back, by which more was allowed.
pub(super) fn older_state(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&pages_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    let older = files(&networked)?;
    networked.apply(&json!([]))?;
    for (file, content) in &older {
        fs::write(file, content)?;
    }
    let before = console(&networked)?.matches(LOST).count();
    started_again(&mut networked)?;
    let began = Instant::now();
    while console(&networked)?.matches(LOST).count() == before {
        ensure!(began.elapsed() < SOON, "no word of a state that is lost");
    }
    ensure!(
        !networked.page(5)?,
        "a page by a state that is an older one"
    );
    let operator = &networked.stack.operator;
    operator.must(&["enclave", "reset-state"])?;
    networked.apply(&pages_only())?;
    until_a_page(&mut networked)
}

/// What the enclave's console says.
const LOST: &str = "state is lost; everything is denied until an administrator orders `bartizan enclave reset-state`";

fn console(networked: &Networked<'_>) -> Result<String> {
    Ok(fs::read_to_string(networked.stack.host.keeper().log())?)
}

/// What the card has kept of the enclave's.
fn files(networked: &Networked<'_>) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let state = networked.stack.layout.path("state/card");
    let mut kept = Vec::new();
    for entry in fs::read_dir(&state)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with("enclave-state.")) {
            let content = fs::read(&path)?;
            kept.push((path, content));
        }
    }
    ensure!(!kept.is_empty(), "{} has no state", state.display());
    Ok(kept)
}

/// Kills the enclave's machine, and waits for another.
pub(super) fn started_again(networked: &mut Networked<'_>) -> Result<()> {
    let keeper = Process::of(networked.stack.host.keeper().pid()?)?;
    let machine = keeper.children()?;
    let qemu = machine.first().context("the keeper has no machine")?;
    let ended = qemu.end()?;
    qemu.kill()?;
    ended.wait(SOON)?;
    let began = Instant::now();
    while keeper.children()?.is_empty() {
        ensure!(began.elapsed() < SOON, "the keeper starts no machine");
    }
    Ok(())
}

fn until_a_page(networked: &mut Networked<'_>) -> Result<()> {
    let began = Instant::now();
    while !networked.page(5)? {
        ensure!(began.elapsed() < SOON, "no page, which a rule allows");
    }
    Ok(())
}
