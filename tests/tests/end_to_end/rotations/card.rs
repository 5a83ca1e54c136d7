//! A host's card identity goes from key to key while its guests attest: nobody is refused, and the host is who it was.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::measurement::Digest;
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::Stack;
use serde_json::Value;
use uuid::Uuid;

use super::{NGINX, attest_until, history, id};
use crate::compromised::{Card, Hypervisor};
use crate::requests::Enrolled;
use crate::world::World;

/// Rotations; the verifier grants eight at once.
const TURNS: usize = 3;
/// Attestations that are affirmed between two rotations.
const BETWEEN: u32 = 2;
/// How long these may take.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) fn rotated(world: &mut World) -> Result<()> {
    let (stack, web, other) = world.two()?;
    let before = Enrolled::of(web)?.guest.card;
    let operator = &stack.operator;
    let (over, affirmed) = (AtomicBool::new(false), AtomicU32::new(0));
    let keys = thread::scope(|scope| {
        let guests = [&mut *web, &mut *other].map(|guest| {
            let (over, affirmed) = (&over, &affirmed);
            scope.spawn(move || attest_until(guest, over, affirmed))
        });
        let keys = rotate(operator, &affirmed, || {
            guests.iter().any(thread::ScopedJoinHandle::is_finished)
        });
        over.store(true, Ordering::SeqCst);
        for guest in guests {
            guest.join().unwrap_or_else(|_| bail!("a panic"))?;
        }
        keys
    })?;

    let (newest, former) = keys.split_last().context("keys")?;
    let hosts = operator.must(&["host", "list"])?;
    let mut hosts = hosts.as_array().context("a list")?.iter();
    let listed = hosts.find(|host| host["card"] == before.to_string());
    let listed = listed.context("the host is listed under its card")?;
    ensure!(listed["card_key"] == *newest, "{listed}");
    let events = history(operator, "host", "card")?;
    for key in former {
        let told: Vec<_> = (events.iter().filter(|event| id(event) == key))
            .map(|event| event["event"].as_str().unwrap_or_default())
            .collect();
        let last = told.rsplitn(2, |word| *word == "superseded").next();
        ensure!(last == Some(&["destroyed"][..]), "{key}: {told:?}");
    }
    // What is certified from now on is by the newest, a guest's next key among it.
    other.agent.must("/opt/bartizan/bin/bartizan-guest renew")?;
    ensure!(Enrolled::of(other)?.guest.card == before, "another card");
    for guest in [web, other] {
        let (code, answer) = guest.attest(NGINX)?;
        ensure!(
            code == Some(0),
            "not affirmed after the rotations: {answer}"
        );
    }
    certifies(stack, before)
}

/// The card dies with the next key begun: once it is back it finishes, with that key.
pub(super) fn finished(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let card = Enrolled::of(web)?.guest.card;
    let first = current(&stack.operator)?;
    Card(&stack.host).begin_succession()?;
    let keys = cards(&stack.operator)?;
    let waits = keys.iter().find(|key| key["current"] == false);
    let begun = id(waits.context("a key that waits")?).to_owned();
    ensure!(keys.len() == 2 && begun != first, "{keys:?}");
    stack.host.card.kill()?;
    stack.host.card.start_again()?;
    let deadline = Instant::now() + PATIENCE;
    while cards(&stack.operator)?.len() != 1 {
        ensure!(Instant::now() < deadline, "it is not finished");
    }
    ensure!(current(&stack.operator)? == begun, "with another key");
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed afterwards: {answer}");
    certifies(stack, card)
}

/// Answers the ids of the keys that were in use, the newest last.
fn rotate(
    operator: &Operator,
    affirmed: &AtomicU32,
    is_over: impl Fn() -> bool,
) -> Result<Vec<String>> {
    let mut keys = vec![current(operator)?];
    for _ in 0..TURNS {
        operator.must(&["key", "rotate", "card"])?;
        let newest = current(operator)?;
        ensure!(!keys.contains(&newest), "{newest} was in use before");
        keys.push(newest);
        let due = affirmed.load(Ordering::SeqCst) + BETWEEN;
        let deadline = Instant::now() + PATIENCE;
        while affirmed.load(Ordering::SeqCst) < due {
            ensure!(!is_over(), "a guest was refused");
            ensure!(Instant::now() < deadline, "no attestation after a rotation");
            thread::yield_now();
        }
    }
    Ok(keys)
}

fn cards(operator: &Operator) -> Result<Vec<Value>> {
    let keys = operator.must(&["key", "list", "host"])?;
    let keys = keys.as_array().context("a list")?.iter();
    Ok(keys.filter(|key| key["kind"] == "card").cloned().collect())
}

/// The card identity key in use; there is no other one.
fn current(operator: &Operator) -> Result<String> {
    match cards(operator)?.as_slice() {
        [key] if key["current"] == true && key["refused"] == Value::Null => Ok(id(key).to_owned()),
        other => bail!("not one card identity key: {other:?}"),
    }
}

/// By the card of before, and by a chain that openssl accepts.
fn certifies(stack: &Stack, card: CardId) -> Result<()> {
    let hypervisor = Hypervisor(&stack.host);
    let guest = hypervisor.next_boot(Uuid::new_v4())?;
    ensure!(guest.card == card, "another card");
    let key = hypervisor.report_key(guest, &Digest(vec![7; 48]))?;
    let folder = stack.layout.path("rotated");
    fs::create_dir_all(&folder)?;
    openssl_accepts(&folder, &key.chain, &stack.operator.fleet_ca())
}

/// Leaf and card lead to the fleet CA.
pub(crate) fn openssl_accepts(folder: &Path, chain: &[Vec<u8>], fleet_ca: &Path) -> Result<()> {
    for (name, der) in ["leaf", "card"].iter().zip(chain) {
        let file = |kind: &str| folder.join(format!("{name}.{kind}"));
        fs::write(file("der"), der)?;
        let converted = Command::new("openssl")
            .args(["x509", "-inform", "der", "-in"])
            .arg(file("der"))
            .arg("-out")
            .arg(file("pem"))
            .status()?;
        ensure!(converted.success(), "openssl reads no {name} certificate");
    }
    let verified = Command::new("openssl")
        .args(["verify", "-CAfile"])
        .arg(fleet_ca)
        .arg("-untrusted")
        .arg(folder.join("card.pem"))
        .arg(folder.join("leaf.pem"))
        .output()?;
    let said = String::from_utf8_lossy(&verified.stderr);
    ensure!(
        verified.status.success(),
        "openssl does not accept the chain: {said}"
    );
    Ok(())
}
