//! The measured boot: whatever is not what was released stops it, and keeps what comes after shut.

mod accepted;
mod altered;
mod bundle;
mod devices;
mod firmware;
mod identity;
mod rig;
mod shut;
mod swapped;

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::boot::{
    Event, EventLog, LogError, Measured, Phase, Register, RegisterValues, Sha384,
};
use bartizan_attestation::keys::VaultReply;
use serde_json::Value;

use crate::Case;
use crate::world::World;
use rig::Rig;
use shut::Vault;

pub(super) fn cases() -> Vec<Case> {
    [
        CASES,
        altered::CASES,
        swapped::CASES,
        accepted::CASES,
        bundle::CASES,
        devices::CASES,
        firmware::CASES,
        identity::CASES,
    ]
    .concat()
}

const CASES: &[Case] = &[
    ("boot::log_replays_to_the_registers", log_replays),
    ("boot::operator_is_shown_the_chain", shown),
    ("boot::release_without_its_signature_is_refused", unsigned),
    ("boot::older_release_is_refused", rolled_back),
    ("boot::enclave_is_measured_last", enclave),
];

/// What the vault of the stack's own host tells, and its certificates carry.
fn log_replays(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let described = rig::describe(&stack.users, &stack.host.layout)?;
    let log = EventLog::from_cbor(&described.log)?;
    log.explains(&described.registers)?;
    ensure!(described.measured && described.stopped.is_none());
    ensure!(described.phases.len() == 5, "{:?}", described.phases);
    ensure!(
        described.phases[4] == described.registers.measurement,
        "the last phase's digest is the register's"
    );
    ensure!(EventLog::from_json(&log.to_json().to_string())? == log);
    let (events, registers) = (log.events(), &described.registers);
    let stray = Event {
        register: Register::Measurement,
        measured: Measured::Component {
            phase: Phase::Enclave,
            name: "stray".into(),
            sha384: Sha384::of(b"stray"),
        },
    };
    for (at, event) in events.iter().enumerate() {
        let refused = |what, edit: &dyn Fn(&mut Vec<Event>)| {
            let mut events = events.to_vec();
            edit(&mut events);
            let refused = is_not_explained(&EventLog::new(events), registers);
            refused.with_context(|| format!("entry {at} was {what}"))
        };
        refused("dropped", &|events| drop(events.remove(at)))?;
        refused("added", &|events| events.insert(at, stray.clone()))?;
        refused("repeated", &|events| events.push(event.clone()))?;
        // Each register has an order of its own.
        let of_same = |other: &usize| events[*other].register == event.register;
        if let Some(next) = (at + 1..events.len()).find(of_same) {
            refused("swapped", &|events| events.swap(at, next))?;
        }
    }
    Ok(())
}

/// The refusal says what the log comes to, and what is there.
fn is_not_explained(log: &EventLog, registers: &RegisterValues) -> Result<()> {
    let Err(error) = log.explains(registers) else {
        bail!("the registers are explained");
    };
    let said = error.to_string();
    let LogError::Replay {
        register,
        expected,
        found,
    } = error
    else {
        bail!("{said}");
    };
    ensure!(found == registers.of(register) && expected != found);
    for digest in [expected, found] {
        ensure!(said.contains(&digest.to_string()), "{said}");
    }
    Ok(())
}

/// By the card, on an operator's order; checked against the certificate by the command line.
fn shown(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let shown = stack.operator.must(&["boot", "show"])?;
    ensure!(shown["ok"] == true, "{shown}");
    let ended = shown["phases"].as_array().context("phases")?;
    let ended: Vec<_> = ended.iter().map(|phase| phase["ended"] == true).collect();
    ensure!(ended == [true; 5], "{ended:?}");
    let described = rig::describe(&stack.users, &stack.host.layout)?;
    let measurement = described.registers.measurement.to_string();
    ensure!(shown["registers"]["measurement"] == measurement, "{shown}");
    // The certificate is made when it is first needed: at the end of some phase.
    ensure!(shown["certified_phases"].as_u64() >= Some(1), "{shown}");
    let log = stack.operator.must(&["boot", "show", "--log"])?;
    let log = EventLog::from_json(&log.to_string())?;
    log.explains(&described.registers)?;
    Ok(())
}

/// No signature, another key's, and a signed message of another kind.
fn unsigned(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b2")?;
    let releases = rig.describe([1, 1])?;
    rig.sign(&releases)?;
    let good = [
        fs::read(rig.releases.base())?,
        fs::read(rig.releases.bundle())?,
    ];
    let stranger = rig.strangers_releases()?;
    let restore = |rig: &Rig| -> Result<()> {
        fs::write(rig.releases.base(), &good[0])?;
        Ok(fs::write(rig.releases.bundle(), &good[1])?)
    };
    let (unsigned, no_bundle) = ("not signed by the release key", "not a release bundle");
    for (base, bundle, said) in [
        (Some(stranger[0].clone()), None, unsigned),
        (Some(b"no release".to_vec()), None, unsigned),
        (Some(Vec::new()), None, unsigned),
        (None, Some(stranger[1].clone()), unsigned),
        (None, Some(b"no bundle".to_vec()), no_bundle),
        // A release of the right key, of the other part.
        (None, Some(good[0].clone()), no_bundle),
        (Some(good[1].clone()), None, unsigned),
    ] {
        restore(&rig)?;
        let (phase, vault) = if base.is_some() {
            (Phase::Card, Vault::NotStarted)
        } else {
            (Phase::Coordinator, Vault::Runs)
        };
        if let Some(base) = base {
            fs::write(rig.releases.base(), base)?;
        }
        if let Some(bundle) = bundle {
            fs::write(rig.releases.bundle(), bundle)?;
        }
        let why = rig.boot()?.stopped()?;
        ensure!(why.contains(said), "{why}");
        rig.shut_after(phase, vault, &why)?;
        rig.end()?;
    }
    // A bundle that is not there.
    restore(&rig)?;
    fs::remove_file(rig.releases.bundle())?;
    let why = rig.boot()?.stopped()?;
    ensure!(why.contains("cannot be read"), "{why}");
    rig.shut_after(Phase::Coordinator, Vault::Runs, "missing")?;
    rig.end()
}

/// Versions go up only, and a later one may be booted.
fn rolled_back(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b3")?;
    for (versions, stopped) in [
        ([2, 2], None),
        ([1, 2], Some((Phase::Card, "version 1 of the base"))),
        (
            [2, 1],
            Some((Phase::Coordinator, "version 1 of the bundle")),
        ),
        ([3, 2], None),
        ([2, 2], Some((Phase::Card, "version 2 of the base"))),
    ] {
        rig.sign(&rig.describe(versions)?)?;
        let booted = rig.boot()?;
        match stopped {
            None => booted.done()?,
            Some((phase, said)) => {
                let why = booted.stopped()?;
                ensure!(why.contains(said), "{versions:?}: {why}");
                // It is the vault that knows which were started before.
                rig.shut_after(phase, Vault::Runs, said)?;
            }
        }
        rig.end()?;
    }
    Ok(())
}

/// A stand-in for the enclave's image is measured on the hypervisor's ready signal, and opens the last phase.
fn enclave(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b5")?;
    rig.sign(&rig.describe([1, 1])?)?;
    rig.boot()?.done()?;
    let described = rig.vault_describes()?;
    ensure!(described.phases.len() == 5, "{:?}", described.phases);
    let log = EventLog::from_cbor(&described.log)?;
    log.explains(&described.registers)?;
    let json: Value = log.to_json();
    ensure!(json.as_array().is_some_and(|events| events.len() > 20));
    // Not enrolled, but open: there is no key, rather than a shut one.
    match rig.certify_report_key()? {
        VaultReply::Refused(refusal) if !rig::is_shut(&refusal) => {}
        other => bail!("{other:?}"),
    }
    rig.end()
}
