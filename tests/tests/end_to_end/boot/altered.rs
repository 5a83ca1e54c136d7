//! One bit of what is measured is another: of each phase a program and a configuration; QEMU and what it runs with; the enclave.

use anyhow::{Result, ensure};
use bartizan_attestation::boot::Phase;
use serde_json::json;

use super::rig::{Rig, alter, digests, part};
use super::shut::Vault;
use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[("boot::altered_component_stops_its_phase", altered)];

/// In the order in which they are measured: the vault is started as soon as it was.
const COMPONENTS: &[(Phase, Vault, &str)] = &[
    (Phase::Card, Vault::NotStarted, "vault.yaml"),
    (Phase::Card, Vault::NotStarted, "bartizan-vault"),
    (Phase::Card, Vault::Runs, "card.yaml"),
    (Phase::Card, Vault::Runs, "bartizan-card"),
    (Phase::Devices, Vault::Runs, "devices.yaml"),
    (Phase::Devices, Vault::Runs, "bartizan-devices"),
    (
        Phase::Devices,
        Vault::Runs,
        "qemu-system-x86_64/lib/libz.so.1",
    ),
    (Phase::Devices, Vault::Runs, "qemu-system-x86_64"),
    (
        Phase::Devices,
        Vault::Runs,
        "qemu-system-x86_64/firmware/bios-256k.bin",
    ),
    (Phase::Coordinator, Vault::Runs, "bartizan-stage2"),
    (Phase::Hypervisor, Vault::Runs, "hypervisor.yaml"),
    (Phase::Hypervisor, Vault::Runs, "bartizan-measurer"),
    (Phase::Enclave, Vault::Runs, "enclave/kernel"),
    (Phase::Enclave, Vault::Runs, "enclave/image"),
    (Phase::Enclave, Vault::Runs, "enclave/command-line"),
];

fn altered(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b1")?;
    for (phase, vault, component) in COMPONENTS {
        let mut releases = rig.describe([1, 1])?;
        let described = releases
            .iter_mut()
            .find_map(|release| part(release, component));
        match described {
            // A copy, which is altered once it was signed.
            Some(described) if described["path"].is_string() => {
                let copy = rig.copied(&mut releases, component)?;
                rig.sign(&releases)?;
                alter(&copy)?;
            }
            // It travels in the bundle: something else is signed than what travels.
            Some(described) => {
                described["sha384"] = json!(["00".repeat(48)]);
                rig.sign(&releases)?;
                rig.exchange_in_bundle(component)?;
            }
            // A library, which is described as its program's.
            None => {
                rig.sign(&releases)?;
                alter(&rig.copied_library(component)?)?;
            }
        }
        let why = rig.boot()?.stopped()?;
        for said in [format!("`{component}`"), format!("phase {phase}")] {
            ensure!(why.contains(&said), "{component}: {why}");
        }
        // Expected and found.
        ensure!(digests(&why) >= 2, "{component}: {why}");
        rig.shut_after(*phase, *vault, component)?;
        rig.end()?;
    }
    Ok(())
}
