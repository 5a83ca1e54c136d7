//! What the verifier makes of a host's boot.

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::boot::{EventLog, Phase};
use bartizan_tests::stack::Stack;
use serde_json::Value;

use super::rig::{Rig, alter};
use super::shut::Vault;
use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[(
    "boot::verifier_serves_hosts_of_registered_releases_only",
    registered_only,
)];

fn registered_only(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b8")?;
    let stack = world.stack()?;
    rig.sign(&rig.describe([1, 1])?)?;
    rig.boot()?.done()?;
    stack.enroll(&rig.layout, &rig.configs.card, "b8", &[])?;
    let card = rig.card()?.to_string();

    // The boot went well, by a key that the verifier knows; but nobody has registered these releases.
    rig.refused(stack, "boot-release-unknown")?;
    let judged = rig.at_host(stack).run(&["host", "attest"])?;
    ensure!(judged.code == Some(1), "{judged:?}");
    ensure!(judged.json["accepted"] == false, "{judged:?}");
    ensure!(
        judged.json["problem"] == "boot-release-unknown",
        "{judged:?}"
    );
    ensure!(boots(stack, &card)?.is_empty(), "a boot was accepted");

    rig.releases.register()?;
    rig.served(stack)?;
    let accepted = boots(stack, &card)?;
    let [accepted] = accepted.as_slice() else {
        bail!("{} boots were accepted", accepted.len());
    };
    let described = rig.vault_describes()?;
    let phases: Vec<_> = described.phases.iter().map(ToString::to_string).collect();
    ensure!(accepted["phases"] == Value::from(phases), "{accepted}");
    let log = EventLog::from_cbor(&described.log)?;
    let releases: Vec<_> = log.releases().map(ToString::to_string).collect();
    ensure!(
        [&accepted["base"], &accepted["bundle"]] == [releases[0].as_str(), releases[1].as_str()],
        "{accepted}"
    );

    // Retired, it is refused with the next request; and registered again it is served without a boot.
    stack.operator.must(&["release", "retire", &releases[1]])?;
    let listed = stack.operator.must(&["release", "list"])?;
    let listed = listed.as_array().context("releases")?;
    let bundle = listed
        .iter()
        .find(|release| release["manifest"] == releases[1].as_str());
    ensure!(
        bundle.context("the bundle")?["state"] == "retired",
        "{listed:?}"
    );
    rig.refused(stack, "boot-release-unknown")?;
    rig.releases.register()?;
    rig.served(stack)?;

    // Another version is another boot.
    rig.end()?;
    rig.sign(&rig.describe([2, 2])?)?;
    rig.boot()?.done()?;
    rig.refused(stack, "boot-release-unknown")?;
    rig.releases.register()?;
    rig.served(stack)?;
    ensure!(boots(stack, &card)?.len() == 2, "a boot is missing");

    // The same releases, and a configuration that is not theirs: the host says so by a key of the first phase, and is served nothing.
    rig.end()?;
    alter(&rig.configs.hypervisor)?;
    let why = rig.boot()?.stopped()?;
    ensure!(why.contains("`hypervisor.yaml`"), "{why}");
    rig.shut_after(Phase::Hypervisor, Vault::Runs, &why)?;
    let said = rig.refused(stack, "boot-stopped")?;
    ensure!(said.contains("phase 4 (hypervisor)"), "{said}");
    ensure!(boots(stack, &card)?.len() == 2, "a boot was accepted");
    rig.end()
}

fn boots(stack: &Stack, card: &str) -> Result<Vec<Value>> {
    let boots = stack.operator.must(&["host", "boots", card])?;
    Ok(boots.as_array().context("boots")?.clone())
}
