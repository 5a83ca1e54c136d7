//! What the host's own firmware measured, with a TPM into which it was measured as a real machine's firmware did.

use std::fs;

use anyhow::{Context, Result, ensure};
use bartizan_attestation::boot::{Bank, FirmwareLog};
use bartizan_tests::stack::Stack;
use bartizan_tests::token::Tpm;
use serde_json::{Value, json};

use super::rig::{self, Rig};
use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("boot::firmware_log_that_is_not_quoted_is_refused", altered),
    ("boot::demanded_firmware_is_that_of_a_reference", demanded),
];

/// A real machine's.
const OVMF: &[u8] = include_bytes!("../../../../trust/boot/firmware-logs/ovmf.log");
/// What firmware measures into.
const PCRS: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// An enrolled host with a TPM, whose boot was accepted.
struct Machine {
    rig: Rig,
    tpm: Tpm,
    card: String,
}

impl Machine {
    fn new(world: &mut World, name: &str) -> Result<Self> {
        let rig = Rig::new(world, name)?;
        let stack = world.stack()?;
        let tpm = Tpm::new(&rig.layout.path("tpm"), &stack.maker)?;
        rig.seal_by(&tpm.quoting(&PCRS))?;
        rig.sign(&rig.describe([1, 1])?)?;
        rig.releases.register()?;
        let card = String::new();
        let mut machine = Self { rig, tpm, card };
        machine.boot(OVMF, OVMF)?;
        let (layout, configs) = (&machine.rig.layout, &machine.rig.configs);
        stack.enroll(layout, &configs.card, name, &["--vault", "tpm2"])?;
        machine.rig.served(stack)?;
        machine.card = machine.rig.card()?.to_string();
        Ok(machine)
    }

    /// The firmware measures `measured`, and says that it was `log`.
    fn boot(&mut self, measured: &[u8], log: &[u8]) -> Result<()> {
        self.tpm.measure(&FirmwareLog::parse(measured)?)?;
        self.rig.write_firmware_log(log)?;
        self.rig.boot()?.done()
    }

    /// The machine is started anew.
    fn boot_anew(&mut self, measured: &[u8], log: &[u8]) -> Result<()> {
        self.rig.end()?;
        self.tpm.kill()?;
        self.tpm.start_again()?;
        self.boot(measured, log)
    }

    fn served(&self, stack: &Stack) -> Result<()> {
        self.rig.served(stack)
    }

    fn shown(&self, stack: &Stack) -> Result<Value> {
        stack.operator.must(&["host", "firmware", &self.card])
    }
}

/// The log with its events changed.
fn changed(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Result<Vec<u8>> {
    let log = FirmwareLog::parse(OVMF)?;
    let events = log.events().iter();
    let mut events: Vec<_> = events.map(|event| event.bytes.to_vec()).collect();
    change(&mut events);
    Ok([log.header().to_vec(), events.concat()].concat())
}

fn altered(world: &mut World) -> Result<()> {
    let mut machine = Machine::new(world, "bf")?;
    let stack = world.stack()?;
    let log = FirmwareLog::parse(OVMF)?;
    let replayed = log.replay(Bank::Sha384)?;
    let shown = machine.shown(stack)?;
    for pcr in PCRS {
        let held = replayed[&pcr].to_string();
        ensure!(
            shown["pcrs"][pcr.to_string()] == held.as_str(),
            "PCR {pcr}: {shown}"
        );
    }
    let events = shown["events"].as_array().context("events")?;
    ensure!(events.len() == log.events().len(), "{shown}");
    ensure!(shown["reference"].is_null(), "{shown}");

    // The same of PCR 4 measured once more: another boot loader.
    let loader = changed(|events| events.insert(13, events[12].clone()))?;
    for (what, measured, log) in [
        ("dropped", OVMF, changed(|events| drop(events.remove(9)))?),
        ("swapped", OVMF, changed(|events| events.swap(3, 4))?),
        ("added", OVMF, loader.clone()),
        ("changed", OVMF, changed(|events| events[5][46 + 2] ^= 1)?),
        ("another PCR", &loader[..], OVMF.to_vec()),
    ] {
        machine.boot_anew(measured, &log)?;
        let said = machine.rig.refused(stack, "firmware-log-not-quoted")?;
        ensure!(rig::digests(&said) >= 2, "{what}: {said}");
    }
    // What is no log, and none at all, which nobody demands.
    machine.boot_anew(OVMF, b"no log")?;
    machine.rig.refused(stack, "firmware-log-malformed")?;
    machine.boot_anew(OVMF, OVMF)?;
    machine.served(stack)?;
    machine.rig.end()
}

fn demanded(world: &mut World) -> Result<()> {
    let mut machine = Machine::new(world, "bg")?;
    let stack = world.stack()?;
    let config = stack.layout.path("verifier.yaml");
    let undemanding = fs::read_to_string(&config)?;
    let mut demanding: Value = serde_json::from_str(&undemanding)?;
    demanding["measured_boot"]["demanded"]["firmware"] =
        json!({ "tpm_hosts": { "pcrs": [0, 2, 4, 7] } });
    reconfigure(stack, &demanding.to_string())?;
    let demanded = by_reference(&mut machine, stack);
    // Whatever came of it: the other cases' hosts show nothing of their firmware.
    reconfigure(stack, &undemanding)?;
    demanded?;
    machine.served(stack)?;
    machine.rig.end()
}

fn reconfigure(stack: &mut Stack, config: &str) -> Result<()> {
    fs::write(stack.layout.path("verifier.yaml"), config)?;
    stack.verifier.kill()?;
    stack.verifier.start_again()
}

fn by_reference(machine: &mut Machine, stack: &Stack) -> Result<()> {
    // It was accepted when nobody demanded that.
    machine.rig.refused(stack, "firmware-without-reference")?;
    let register = [
        "firmware",
        "register",
        "OVMF 2022.11",
        "--host",
        &machine.card,
        "--pcrs",
        "0,2,4,7",
    ];
    let registered = stack.operator.must(&register)?;
    let id = registered["id"].as_str().context("an id")?.to_owned();
    machine.served(stack)?;
    ensure!(machine.shown(stack)?["reference"]["id"] == id.as_str());

    // Another boot loader, measured and logged as it should be.
    let loader = changed(|events| events.insert(13, events[12].clone()))?;
    machine.boot_anew(&loader, &loader)?;
    let said = machine.rig.refused(stack, "firmware-unknown")?;
    ensure!(rig::digests(&said) >= 2 && said.contains("PCR 4"), "{said}");
    machine.boot_anew(OVMF, OVMF)?;
    machine.served(stack)?;

    stack.operator.must(&["firmware", "retire", &id])?;
    machine.rig.refused(stack, "firmware-without-reference")?;
    let listed = stack.operator.must(&["firmware", "list"])?;
    ensure!(
        listed[0]["state"] == "retired" && listed[0]["of"] == "0,2,4,7",
        "{listed}"
    );
    Ok(())
}
