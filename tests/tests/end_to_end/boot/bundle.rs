//! The bundle comes from the verifier: the coordinator has no network, and has the card fetch it. On one host, which is booted again
//! and again.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bartizan_attestation::boot::{Bundle, Phase, Sha384};
use bartizan_tests::layout::text;
use bartizan_tests::stack::{Releases, Stack};
use serde_json::{Value, json};

use super::rig::{Rig, digests, part};
use super::shut::Vault;
use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[("boot::bundle_comes_from_the_verifier", from_the_verifier)];

/// A piece of a bundle, as the verifier keeps it.
const PIECE: usize = 1 << 20;

fn from_the_verifier(world: &mut World) -> Result<()> {
    let mut rig = Rig::new(world, "d1")?;
    let stack = world.stack()?;
    // A new host has no way to know the verifier: its boot is stopped where it needs one, and it is enrolled then.
    sign(&rig, "verifier", 2)?;
    let second = rig.take_bundle()?;
    let why = rig.boot()?.stopped()?;
    ensure!(why.contains("not enrolled"), "{why}");
    rig.shut_after(Phase::Coordinator, Vault::Runs, &why)?;
    stack.enroll(&rig.layout, &rig.configs.card, "d1", &[])?;
    rig.end()?;

    stopped(&mut rig, &["no bundle of this host's release key"])?;

    publish(&rig, &second)?;
    rig.boot()?.done()?;
    let booted = rig.vault_describes()?;
    ensure!(booted.phases.len() == 5, "{:?}", booted.phases);
    ensure!(!rig.releases.bundle().exists(), "the host has a file");
    rig.releases.register_one(&rig.releases.base())?;
    rig.served(stack)?;
    rig.end()?;

    // An older one, by operators or by a verifier that was set back.
    sign(&rig, "verifier", 1)?;
    let first = rig.take_bundle()?;
    publish(&rig, &first)?;
    retire_newest(stack, 2)?;
    stopped(
        &mut rig,
        &["version 1 of the bundle was rolled back", "version 2"],
    )?;

    // A verifier that was taken over: a file in the bundle is another one, then all of it is a stranger's.
    sign(&rig, "verifier-then-file", 3)?;
    let third = fs::read(rig.releases.bundle())?;
    publish(&rig, &third)?;
    let mut altered = Bundle::from_bytes(&third)?;
    let files = &mut altered.files;
    let stage2 = files.iter_mut().find(|file| file.name == "bartizan-stage2");
    let contents = &mut stage2.context("no second stage travels")?.contents;
    let middle = contents.len() / 2;
    contents[middle] ^= 1;
    not_published(&rig, &altered.to_bytes(), "bundle-refused")?;
    serve_instead(stack, &rig, &third, &altered.to_bytes())?;
    let why = stopped(&mut rig, &["`bartizan-stage2`", "phase 3"])?;
    ensure!(digests(&why) >= 2, "{why}");
    let [base, strangers] = rig.strangers_releases()?;
    not_published(&rig, &strangers, "bundle-refused")?;
    not_published(&rig, &base, "is no bundle")?;
    serve_instead(stack, &rig, &third, &strangers)?;
    stopped(&mut rig, &["the verifier's bundle", "not signed by"])?;
    ensure!(!said(&rig, "instead")?, "the file was taken for a forgery");

    // Nobody is there: the file that was not taken for a forgery is taken now.
    let mut card: Value = serde_json::from_str(&fs::read_to_string(&rig.configs.card)?)?;
    card["verifier"]["port"] = json!(1);
    fs::write(&rig.configs.card, card.to_string())?;
    sign(&rig, "verifier-then-file", 3)?;
    rig.boot()?.done()?;
    ensure!(said(&rig, "cannot be reached")?, "the log does not say why");
    rig.end()?;
    retire_newest(stack, 3)?;
    retire_newest(stack, 1)
}

/// Signs both releases, the first stage told whence; the base is always of one version.
fn sign(rig: &Rig, from: &str, version: u64) -> Result<()> {
    let mut releases = rig.describe([1, version])?;
    let stage1 = part(&mut releases[0], "bartizan-stage1").context("a first stage")?;
    let mut arguments = Releases::from_verifier(&rig.layout)?;
    arguments[1] = from.into();
    if from != "verifier" {
        arguments.extend(["--bundle".into(), text(&rig.releases.bundle())?]);
    }
    stage1["start"]["arguments"] = json!(arguments);
    rig.sign(&releases)
}

/// Stopped in phase 3, and what that would have opened stays shut.
fn stopped(rig: &mut Rig, says: &[&str]) -> Result<String> {
    let why = rig.boot()?.stopped()?;
    for said in says {
        ensure!(why.contains(said), "{why}");
    }
    rig.shut_after(Phase::Coordinator, Vault::Runs, &why)?;
    rig.end()?;
    Ok(why)
}

/// Whether the first stage's log of the last boot says that.
fn said(rig: &Rig, what: &str) -> Result<bool> {
    let log = rig.layout.path("logs/bartizan-stage1.log");
    let text = fs::read_to_string(&log)?;
    fs::write(log, "")?;
    Ok(text.contains(what))
}

/// Of the operator's own copy.
fn publish(rig: &Rig, bundle: &[u8]) -> Result<()> {
    let file = rig.layout.path("published.release");
    fs::write(&file, bundle)?;
    rig.releases.publish(&file)
}

/// The operator is told why.
fn not_published(rig: &Rig, bundle: &[u8], why: &str) -> Result<()> {
    let file = rig.layout.path("not-published.release");
    fs::write(&file, bundle)?;
    let ran = rig.operator().run(&["release", "publish", &text(&file)?])?;
    ensure!(
        ran.code == Some(1) && ran.stderr.contains(why),
        "{why} is due: {}",
        ran.stderr
    );
    Ok(())
}

/// Retires the bundle of that version that was published.
fn retire_newest(stack: &Stack, version: u64) -> Result<()> {
    let listed = stack.operator.must(&["release", "list"])?;
    let mut listed = listed.as_array().context("releases")?.iter();
    let published = listed.find(|one| one["published"] == true && one["version"] == version);
    let manifest = published.context("it is not published")?["manifest"].clone();
    let manifest = manifest.as_str().context("a digest")?;
    stack.operator.must(&["release", "retire", manifest])?;
    Ok(())
}

/// Has the verifier serve other bytes than were published, past all that it looks at: in its database.
fn serve_instead(stack: &Stack, rig: &Rig, published: &[u8], bytes: &[u8]) -> Result<()> {
    let name = Sha384::of(published);
    let mut statements = vec![
        "BEGIN IMMEDIATE".to_owned(),
        format!("DELETE FROM bundle_pieces WHERE bundle = x'{name}'"),
        format!(
            "UPDATE bundles SET size = {} WHERE sha384 = x'{name}'",
            bytes.len()
        ),
    ];
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        let file = rig.layout.path(&format!("piece-{number}"));
        fs::write(&file, piece)?;
        let file = text(&file)?;
        statements.push(format!(
            "INSERT INTO bundle_pieces VALUES (x'{name}', {number}, readfile('{file}'))"
        ));
    }
    statements.push("COMMIT".to_owned());
    let done = Command::new("sqlite3")
        .args(["-bail", "-cmd", ".timeout 20000"])
        .arg(stack.layout.path("state/verifier/verifier.db"))
        .arg(statements.join(";"))
        .output()?;
    let why = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "the database was not altered: {why}");
    Ok(())
}
