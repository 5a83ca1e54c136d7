//! kill -9 of whoever has a part in a decision, under traffic: what was allowed for such a time goes on, nothing else begins, and all is
//! back when they are.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bartizan_tests::daemon::Daemon;
use bartizan_tests::network::{Kept, Patience, SOON, WEB};
use bartizan_tests::stack::Stack;
use serde_json::{Value, json};

use super::Networked;
use crate::world::World;

/// The client gives no connection up while somebody is away.
pub(super) const LONG: Patience = Patience { seconds: 120 };

/// Pages go on while nobody decides; echoes do not.
pub(super) fn rules() -> Value {
    let rule = |name: &str, unavailable: &str, network: Value| json!({ "name": name, "effect": "allow", "on_unavailable": unavailable, "network": network });
    json!([
        rule(
            "serve",
            "allow",
            json!({ "direction": "ingress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["client"] } })
        ),
        rule(
            "ask",
            "allow",
            json!({ "direction": "egress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["web"] } })
        ),
        rule("echo", "deny", json!({ "protocols": ["icmp"] })),
    ])
}

/// The enclave is away for longer than a moment.
pub(super) fn enclave_is_away(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&rules())?;
    let kept = Kept::open(networked.client, LONG)?;
    ensure!(networked.echo()?, "no echo, which a rule allows");
    networked.stack.host.keeper().kill()?;
    let away = while_away(&mut networked, &kept);
    // Whatever came out: the other cases need it.
    networked.stack.host.keeper().start_again()?;
    away?;
    back(&mut networked, &kept, "the keeper")?;
    kept.close(networked.client)
}

pub(super) fn while_away(networked: &mut Networked<'_>, kept: &Kept) -> Result<()> {
    let began = Instant::now();
    while networked.echo()? {
        ensure!(began.elapsed() < SOON, "echoes, which nobody decides on");
    }
    // What was established by such a rule goes on, and so does what begins by it.
    kept.is_answered(networked.client)?;
    ensure!(networked.page(20)?, "no page, which goes on by its rule");
    ensure!(!networked.echo()?, "an echo, which nobody decided on");
    Ok(())
}

/// One of the stack's.
type Victim = fn(&mut Stack) -> &mut Daemon;
/// What holds while it is away.
type While = fn(&mut Networked<'_>, &Kept) -> Result<()>;

/// All is decided as ever.
fn decided(networked: &mut Networked<'_>, kept: &Kept) -> Result<()> {
    kept.is_answered(networked.client)?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    ensure!(networked.echo()?, "no echo, which a rule allows");
    Ok(())
}

/// Nobody speaks with the guests, not even their hands do.
fn cut_off(networked: &mut Networked<'_>, _: &Kept) -> Result<()> {
    let heard = networked.client.agent.run("true");
    ensure!(heard.is_err(), "a guest without devices answers: {heard:?}");
    Ok(())
}

/// Each one in turn.
pub(super) fn each_is_back(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&rules())?;
    let kept = Kept::open(networked.client, LONG)?;
    enclaves_machine_is_killed(&mut networked, &kept)?;
    let victims: [(&str, Victim, While); 4] = [
        (
            "the card, which forwards",
            |stack| &mut stack.host.card,
            decided,
        ),
        ("the verifier", |stack| &mut stack.verifier, decided),
        (
            "the hypervisor",
            |stack| &mut stack.host.hypervisor,
            while_away,
        ),
        ("devices", |stack| &mut stack.host.devices, cut_off),
    ];
    for (name, victim, meanwhile) in victims {
        victim(networked.stack).kill()?;
        let away = meanwhile(&mut networked, &kept).context(name);
        let began = Instant::now();
        // Whatever came out: the other cases need it.
        victim(networked.stack).start_again()?;
        away?;
        for guest in [&mut *networked.web, &mut *networked.client] {
            // The hands in the guests are connected through devices, which the hypervisor admits them to.
            if name == "devices" {
                guest.agent = guest.door.wait(SOON)?;
            }
        }
        eprintln!("{name}: serves again after {:?}", began.elapsed());
        back(&mut networked, &kept, name)?;
    }
    // Policies come into force as before.
    networked.apply(&rules())?;
    kept.is_answered(networked.client)?;
    kept.close(networked.client)
}

/// Its QEMU: the keeper starts another, whose keys are certified anew.
fn enclaves_machine_is_killed(networked: &mut Networked<'_>, kept: &Kept) -> Result<()> {
    let qemu = networked.stack.host.enclave()?;
    let ended = qemu.end()?;
    qemu.kill()?;
    ended.wait(SOON)?;
    back(networked, kept, "the enclave's machine")
}

/// The connection is answered as it was, what a rule allows begins, and what none does, does not.
pub(super) fn back(networked: &mut Networked<'_>, kept: &Kept, who: &str) -> Result<()> {
    let began = Instant::now();
    while !networked.echo()? {
        ensure!(began.elapsed() < SOON, "{who}: nothing is decided again");
    }
    eprintln!("{who}: decided again after {:?}", began.elapsed());
    kept.is_answered(networked.client).context(who.to_owned())?;
    ensure!(networked.page(20)?, "{who}: no page, which a rule allows");
    let port = format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{WEB}/81'");
    let other = networked.client.agent.run(&port)?;
    // A refusal by the server would come at once: it has heard of it then.
    ensure!(
        other.code == Some(124),
        "{who}: another port than the rule's: {other:?}"
    );
    Ok(())
}
