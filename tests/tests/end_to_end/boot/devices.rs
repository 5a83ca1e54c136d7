//! Boots with keys in a TPM and in a PKCS #11 token.

use std::fs;

use anyhow::{Result, ensure};
use bartizan_attestation::boot::{EventLog, Phase};
use bartizan_attestation::keys::BootDescription;
use bartizan_tests::stack::Stack;
use bartizan_tests::token::{Token, Tpm};

use super::rig::{Rig, alter};
use super::shut::Vault;
use crate::Case;
use crate::rotations::card::openssl_accepts;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("boot::keys_in_a_tpm_open_in_the_right_boot_only", tpm),
    ("boot::keys_in_a_token_survive_boots", token),
];

fn tpm(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b6")?;
    let stack = world.stack()?;
    let mut tpm = Tpm::new(&rig.layout.path("tpm"), &stack.maker)?;
    rig.seal_by(&tpm.sealing())?;
    rig.sign(&rig.describe([1, 1])?)?;

    rig.boot()?.done()?;
    rig.releases.register()?;
    stack.enroll(&rig.layout, &rig.configs.card, "b6", &["--vault", "tpm2"])?;
    let card = rig.card()?;
    certifies(&rig, stack, "tpm2")?;
    // Another key of that TPM comes after the first: what follows holds for it.
    rig.rotate_card(stack)?;
    certifies(&rig, stack, "tpm2")?;
    let described = explained(&rig)?;

    // A vault that is killed takes the boot up, of which the TPM's registers are still full.
    let vault = rig.launcher()?.daemon("bartizan-vault");
    vault.kill()?;
    vault.start_again()?;
    ensure!(
        rig.vault_describes()? == described,
        "another boot was taken up"
    );
    certifies(&rig, stack, "tpm2")?;

    // The machine goes on: what boots now is not its first boot.
    rig.end()?;
    let why = rig.boot()?.stopped()?;
    ensure!(why.contains("extended already"), "{why}");
    rig.shut_after(Phase::Card, Vault::Runs, "a second boot")?;
    rig.end()?;

    // The machine is started anew, with an altered card.
    tpm.kill()?;
    tpm.start_again()?;
    let mut altered = rig.describe([1, 1])?;
    let copy = rig.copied(&mut altered, "bartizan-card")?;
    rig.sign(&altered)?;
    alter(&copy)?;
    rig.boot()?.stopped()?;
    rig.shut_after(Phase::Card, Vault::Runs, "an altered card")?;
    rig.end()?;

    // And once more, as it was released: the keys are there, and the card is who it was.
    tpm.kill()?;
    tpm.start_again()?;
    rig.sign(&rig.describe([2, 2])?)?;
    rig.boot()?.done()?;
    ensure!(rig.card()? == card, "another card");
    certifies(&rig, stack, "tpm2")?;
    rig.end()
}

fn token(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "b7")?;
    let stack = world.stack()?;
    let token = Token::new(&rig.layout.path("token"), stack.users.vault)?;
    rig.seal_by(&token.sealing()?)?;
    rig.environment = vec![token.environment()?];
    rig.sign(&rig.describe([1, 1])?)?;
    rig.boot()?.done()?;
    rig.releases.register()?;
    stack.enroll(&rig.layout, &rig.configs.card, "b7", &["--vault", "pkcs11"])?;
    let card = rig.card()?;
    certifies(&rig, stack, "pkcs11")?;
    rig.rotate_card(stack)?;
    certifies(&rig, stack, "pkcs11")?;
    let described = explained(&rig)?;
    rig.end()?;
    rig.boot()?.done()?;
    ensure!(rig.card()? == card, "another card");
    certifies(&rig, stack, "pkcs11")?;
    let again = explained(&rig)?;
    ensure!(again.registers == described.registers, "another boot");
    rig.end()
}

/// What the vault tells of the boot, whose log replays to its registers.
fn explained(rig: &Rig) -> Result<BootDescription> {
    let described = rig.vault_describes()?;
    let log = EventLog::from_cbor(&described.log)?;
    log.explains(&described.registers)?;
    Ok(described)
}

/// The vault certifies a report key, and openssl accepts the chain; the certificates name the kind of vault.
fn certifies(rig: &Rig, stack: &Stack, kind: &str) -> Result<()> {
    let chain = rig.report_key()?;
    let folder = rig.layout.path("chain");
    fs::create_dir_all(&folder)?;
    openssl_accepts(&folder, &chain, &stack.operator.fleet_ca())?;
    let named = chain[0]
        .windows(kind.len())
        .any(|bytes| bytes == kind.as_bytes());
    ensure!(named, "the certificate does not say {kind}");
    Ok(())
}
