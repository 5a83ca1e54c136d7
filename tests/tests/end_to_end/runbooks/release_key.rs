//! A release key that was stolen: another takes its place, and what it signed boots no host that is served. On a stack of its own, whose
//! host becomes another one.

use anyhow::{Result, bail, ensure};
use bartizan_tests::launcher::{Booted, Launcher};
use bartizan_tests::layout::text as path;
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Releases, Stack};
use serde_json::{Value, json};

use super::{Runbook, rows, text};
use crate::machine::{Machine, change};
use crate::world::World;

const UNKNOWN: &str = "boot-release-unknown";

pub(super) fn carried_out(_: &mut World) -> Result<()> {
    let mut stack = Stack::start()?;
    let operator = stack.operator.clone();
    let former = Machine::of_host(&stack)?;
    former.renew(&stack)?;
    let anew = Runbook::carried_out("The release key", &operator, |book| {
        retired(book, &stack, &former)?;
        let anew = signed(book, &operator, &former)?;
        take_the_place(&mut stack, &former, &anew.releases)?;
        registered(book, &anew.releases)?;
        Ok(anew)
    })?;
    for release in [former.releases.base(), former.releases.bundle()] {
        let key = path(&former.releases.public_key())?;
        let register = ["release", "register", &path(&release)?, "--key", &key];
        let ran = operator.run(&register)?;
        let refused = ran.code == Some(1) && ran.stderr.contains("release-key-unknown");
        ensure!(refused, "{ran:?}");
    }

    stack.host.launcher.end()?;
    anew.put_aside(&stack.users)?;
    not_booted(&former, &anew)?;
    stack.host.launcher = anew.boot()?;
    stack.enroll(&anew.layout, &anew.configs.card, "host-1", &[])?;
    anew.renew(&stack)
}

/// A release that nobody should boot from is retired, and the host that was is refused.
fn retired(book: &mut Runbook<'_>, stack: &Stack, former: &Machine) -> Result<()> {
    let listed = book.must("release list", &[])?;
    let [_, bundle] = manifests(&listed, "in force", &former.releases)?;
    book.must("release retire", &[("MANIFEST", &bundle)])?;
    former.refused(stack, UNKNOWN)?;
    // In force again, so that it is seen to go with the key.
    former.releases.register()?;
    former.served(stack)
}

/// The host's releases, signed with a new key and configured for that.
fn signed(book: &mut Runbook<'_>, operator: &Operator, former: &Machine) -> Result<Machine> {
    let Machine {
        layout, configs, ..
    } = former;
    let folder = layout.within("anew")?;
    let key = path(&Releases::key_file(&folder)?)?;
    let made = book.must("release key", &[("KEY", &key)])?;
    let releases = Releases::of_made(&folder, operator, &made)?;
    change(configs.vault.as_ref(), |config| {
        config["measured_boot"]["release_key"] = json!(releases.key_sha256);
    })?;
    let described = |name: &str, description: &Value| folder.config(name, &description.to_string());
    let base = releases.describe_base(layout, configs, 1)?;
    let bundle = Releases::describe_bundle(layout, configs, 1)?;
    let names = [
        ("KEY", key),
        ("BASE_DESCRIPTION", described("base.yaml", &base)?),
        ("BASE", path(&releases.base())?),
        ("BUNDLE_DESCRIPTION", described("bundle.yaml", &bundle)?),
        ("BUNDLE", path(&releases.bundle())?),
    ];
    let names = names
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    book.must("release sign $BASE_DESCRIPTION", &names)?;
    book.must("release sign $BUNDLE_DESCRIPTION", &names)?;
    Ok(Machine {
        layout: layout.clone(),
        configs: configs.clone(),
        releases,
    })
}

/// In the verifier's configuration, which takes the former key's releases along.
fn take_the_place(stack: &mut Stack, former: &Machine, releases: &Releases) -> Result<()> {
    stack.verifier.kill()?;
    change(&stack.layout.path("verifier.yaml"), |config| {
        config["measured_boot"]["demanded"]["release_keys"] = json!([releases.key_sha256]);
    })?;
    stack.verifier.start_again()?;
    former.refused(stack, UNKNOWN)?;
    let listed = stack.operator.must(&["release", "list"])?;
    manifests(&listed, "retired", &former.releases)?;
    Ok(())
}

fn registered(book: &mut Runbook<'_>, releases: &Releases) -> Result<()> {
    let names = [
        ("BASE", path(&releases.base())?),
        ("BUNDLE", path(&releases.bundle())?),
        ("PUBLIC_KEY", path(&releases.public_key())?),
    ];
    let names = names
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    book.must("release register $BASE", &names)?;
    book.must("release register $BUNDLE", &names)?;
    let published = book.must("release publish", &names)?;
    ensure!(published["ok"] == true, "{published}");
    Ok(())
}

/// What the former key signed, at a launcher that was given the new one.
fn not_booted(former: &Machine, anew: &Machine) -> Result<()> {
    let (base, key) = (former.releases.base(), anew.releases.public_key());
    let (launcher, booted) = Launcher::start(&anew.layout, &base, &key)?;
    launcher.end()?;
    match booted {
        Booted::Stopped(why) if why.contains("not signed by the release key") => Ok(()),
        other => bail!("the former key's base: {other:?}"),
    }
}

/// The manifests of base and bundle that a key has signed, all of which must be in this state.
fn manifests(listed: &Value, state: &str, releases: &Releases) -> Result<[String; 2]> {
    let of_part = |part: &str| {
        let of_key = |row: &&Value| row["signer"] == *releases.key_sha256 && row["part"] == part;
        let mut found = rows(listed)?.iter().filter(of_key);
        let (Some(found), None) = (found.next(), found.next()) else {
            bail!("not one {part} of the key: {listed}");
        };
        ensure!(found["state"] == state, "{state} is due: {found}");
        text(&found["manifest"])
    };
    Ok([of_part("base")?, of_part("bundle")?])
}
