//! A card identity that was stolen: its host is another one from then on, and whoever has the copy is refused.

use anyhow::{Context, Result, ensure};
use bartizan_tests::layout;
use bartizan_tests::operator::Operator;
use serde_json::Value;

use super::{Runbook, rows, text};
use crate::machine::Machine;
use crate::world::World;

/// The host, and the machine of who has stolen its keys.
const NAMES: [&str; 2] = ["k1", "k2"];

pub(super) fn carried_out(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let machine = Machine::new(stack, NAMES[0])?;
    machine.sign()?;
    let booted = machine.boot()?;
    stack.enroll(&machine.layout, &machine.configs.card, NAMES[0], &[])?;
    machine.renew(stack)?;
    let thief = Machine::new(stack, NAMES[1])?;
    thief.take_vault_of(&machine, &stack.users)?;
    let stolen = card_of(&stack.operator, NAMES[0])?;

    let operator = machine.operator(stack);
    let fleet_ca = layout::text(&operator.fleet_ca())?;
    let names = [
        ("CARD", stolen.as_str()),
        ("NAME", NAMES[0]),
        ("CARD_CONFIG", machine.configs.card.as_str()),
        ("FLEET_CA", fleet_ca.as_str()),
    ];
    let title = "A host's card identity";
    let (enrolled, again) = Runbook::carried_out(title, &operator, |book| {
        book.must("vm list", &[])?;
        book.must("revocation add host", &names)?;
        machine.refused(stack, "host-revoked")?;
        // What operators order of it is refused, too: it may not ask how they stand.
        let ordered = operator.run(&["vm", "list"])?;
        let refused = ordered.code != Some(0) && ordered.stderr.contains("host-revoked");
        ensure!(refused, "it did as it was ordered: {ordered:?}");
        booted.end()?;
        machine.put_aside(&stack.users)?;
        let again = machine.boot()?;
        let code = text(&book.must("host join-code", &names)?["code"])?;
        let enrolled = book.must_as(stack.users.card, &code, "host enroll", &names)?;
        Ok((enrolled, again))
    })?;

    let card = text(&enrolled["card"])?;
    ensure!(card != stolen, "the same card: {enrolled}");
    machine.renew(stack)?;
    operator.must(&["vm", "list"])?;
    let hosts = operator.must(&["host", "list"])?;
    let is_it = |host: &Value| host["card"] == *card && host["name"] == NAMES[0];
    ensure!(rows(&hosts)?.iter().any(is_it), "{card}: {hosts}");

    // The copy is booted where the thief can: it is the card that it was, and is refused as that.
    thief.sign()?;
    let copy = thief.boot()?;
    let said = thief.refused(stack, "host-revoked")?;
    ensure!(said.contains(&stolen), "another card is refused: {said}");
    copy.end()?;
    again.end()
}

/// The card of the only host of this name.
fn card_of(operator: &Operator, name: &str) -> Result<String> {
    let hosts = operator.must(&["host", "list"])?;
    let host = rows(&hosts)?.iter().find(|host| host["name"] == name);
    text(&host.context("the host is not listed")?["card"])
}
