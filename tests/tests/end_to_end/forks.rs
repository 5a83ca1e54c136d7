//! A host's software vault, copied to another machine: the verifier names both, and refuses both.

use anyhow::{Context, Result, ensure};
use bartizan_tests::stack::Stack;
use serde_json::Value;

use crate::Case;
use crate::machine::Machine;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[(
    "forks::copied_vault_is_noticed_and_both_hosts_are_refused",
    copied_vault,
)];

fn copied_vault(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let original = Machine::new(stack, "f1")?;
    original.sign()?;
    let booted = original.boot()?;
    stack.enroll(&original.layout, &original.configs.card, "f1", &[])?;
    original.says("reported in", 1)?;
    booted.end()?;

    let copy = Machine::new(stack, "f2")?;
    copy.take_vault_of(&original, &stack.users)?;

    // The original goes on; then the copy, from what the original has used up.
    let booted = original.boot()?;
    original.says("reported in", 2)?;
    ensure!(fork_of(stack, "f1")?.is_null(), "a fork of one");
    ensure!(original.renew(stack).is_ok(), "the original is refused");
    copy.sign()?;
    let booted_copy = copy.boot()?;
    copy.says("could not report in", 1)?;
    copy.says("vault-forked", 1)?;

    let fork = fork_of(stack, "f1")?;
    let names: Vec<_> = (0..2).map(|at| &fork["reporters"][at]["machine"]).collect();
    ensure!(names == ["f1", "f2"], "{fork}");
    for machine in [&original, &copy] {
        let said = machine.refused(stack, "vault-forked")?;
        for name in ["`f1`", "`f2`"] {
            ensure!(said.contains(name), "{name}: {said}");
        }
    }

    // The copy is ended, and the original taken again.
    booted_copy.end()?;
    let card = hosts(stack, "f1")?["card"]
        .as_str()
        .context("a card")?
        .to_owned();
    stack.operator.must(&["host", "clear-fork", &card])?;
    ensure!(fork_of(stack, "f1")?.is_null(), "it is still a fork");
    original.renew(stack)?;
    let again = stack.operator.run(&["host", "clear-fork", &card])?;
    ensure!(again.code == Some(1), "{again:?}");
    booted.end()
}

fn hosts(stack: &Stack, name: &str) -> Result<Value> {
    let hosts = stack.operator.must(&["host", "list"])?;
    let mut hosts = hosts.as_array().context("a list of hosts")?.iter();
    let host = hosts.find(|host| host["name"] == name).cloned();
    host.with_context(|| format!("no host {name}"))
}

fn fork_of(stack: &Stack, name: &str) -> Result<Value> {
    Ok(hosts(stack, name)?["fork"].clone())
}
