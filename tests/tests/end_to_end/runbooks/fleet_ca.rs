//! A fleet CA that was stolen: another fleet is begun, and what the former one certified is good for nothing in it. On a stack of its own.

use std::fs;

use anyhow::{Result, bail, ensure};
use bartizan_channel::{ChannelError, Fault};
use bartizan_tests::layout::text as path;
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::Stack;
use serde_json::json;
use uuid::Uuid;

use super::{Runbook, current, text};
use crate::compromised::Hypervisor;
use crate::compromised::tls_client::TlsClient;
use crate::machine::Machine;
use crate::requests::Answer;
use crate::world::World;

/// A file that no host has: a record that names it gets as far as that.
const IMAGE: &str = "no-such-kernel";

pub(super) fn carried_out(_: &mut World) -> Result<()> {
    let mut stack = Stack::start()?;
    let former = stack.operator.clone();
    let mut host = Machine::of_host(&stack)?;
    let anchor = text(&former.must(&["operator", "anchor"])?["fleet_ca_sha256"])?;
    let record = description(&stack, "former", &anchor)?;
    let launch = path(&stack.layout.path("former.launch"))?;
    former.must(&["vm", "sign", &record, "--output", &launch])?;
    let keys = former.must(&["key", "list", "host"])?;
    let tls_key = current(&keys, "tls-client")?;
    let guest = Hypervisor(&stack.host).next_boot(Uuid::new_v4())?;
    let served = TlsClient::stolen(&stack.host, &tls_key, &former)?.ask_nonce(guest)?;
    ensure!(served.status == 200, "{served:?}");

    put_aside(&mut stack)?;
    stack.verifier_vault.start_again()?;
    let folder = stack.layout.run("founder", stack.users.verifier)?;
    let founder = former.another(folder);
    Runbook::carried_out("The fleet CA", &founder, |book| {
        let config = path(&stack.layout.path("verifier.yaml"))?;
        let folder = path(founder.folder())?;
        let names = [
            ("VERIFIER_CONFIG", config.as_str()),
            ("NAME", "fay"),
            ("FOLDER", folder.as_str()),
        ];
        book.must_as(stack.users.verifier, "", "service init", &names)?;
        stack.verifier.start_again()?;
        let of_former = TlsClient::stolen(&stack.host, &tls_key, &founder)?;
        untrusted(of_former.ask_nonce(guest))?;

        host.releases = host.releases.by(&founder);
        host.configs.fleet_ca = path(&founder.fleet_ca())?;
        host.sign()?;
        stack.host.launcher.end()?;
        host.put_aside(&stack.users)?;
        stack.host.launcher = host.boot()?;
        (stack.operator, stack.host.operator) = (founder.clone(), founder.clone());
        stack.enroll(&host.layout, &host.configs.card, "host-1", &[])?;
        host.renew(&stack)?;

        let present = text(&book.must("operator anchor", &[])?["fleet_ca_sha256"])?;
        ensure!(present != anchor, "the anchor is the former one");
        let names = [
            ("DESCRIPTION", description(&stack, "present", &present)?),
            ("RECORD", path(&stack.layout.path("present.launch"))?),
        ];
        let names = names
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        book.must("vm sign", &names)?;
        // The record itself is taken.
        refused(&founder, &["vm", "run", names[1].1], IMAGE)
    })?;

    // The former one's signature, and the former one's anchor.
    let led_back = path(&stack.layout.path("led-back.launch"))?;
    founder.must(&["vm", "sign", &record, "--output", &led_back])?;
    for launch in [&launch, &led_back] {
        refused(&founder, &["vm", "run", launch], "launch record is refused")?;
    }
    // Who was certified by the former one, and says that they trust the present one.
    let certified = stack.layout.path("certified-before");
    fs::create_dir_all(&certified)?;
    for (from, name) in [
        (former.folder(), "operator.pk8"),
        (former.folder(), "operator.pem"),
        (founder.folder(), "fleet-ca.pem"),
    ] {
        fs::copy(from.join(name), certified.join(name))?;
    }
    let certified = former.another(certified);
    for operator in [&former, &certified] {
        refused(operator, &["vm", "list"], "not issued by this fleet CA")?;
        let asked = ["key", "list", "verifier"];
        refused(operator, &asked, "do not trust each other")?;
    }
    Ok(())
}

/// Ends the verifier and its vault; the next ones find nothing of theirs.
fn put_aside(stack: &mut Stack) -> Result<()> {
    stack.verifier.kill()?;
    stack.verifier_vault.kill()?;
    let users = stack.users;
    for (name, account) in [
        ("verifier", users.verifier),
        ("verifier-vault", users.verifier_vault),
    ] {
        let state = stack.layout.path(&format!("state/{name}"));
        fs::rename(&state, state.with_extension("aside"))?;
        stack.layout.state(name, account)?;
    }
    Ok(())
}

/// The description of a guest that pins an anchor.
fn description(stack: &Stack, name: &str, anchor: &str) -> Result<String> {
    let image = path(&stack.layout.images()?.join(IMAGE))?;
    let record = json!({
        "version": 1, "name": name, "uuid": Uuid::new_v4().to_string(), "role": "demo",
        "cpus": 1, "memory_mib": 64,
        "boot": { "kernel": {
            "image": { "path": image, "sha384": "00".repeat(48) }, "command_line": "quiet",
        } },
        "fleet_ca_sha256": anchor,
    });
    stack
        .layout
        .config(&format!("{name}.yaml"), &record.to_string())
}

/// That the verifier took this for nobody's certificate.
fn untrusted(asked: Result<Answer>) -> Result<()> {
    match asked.map_err(|error| error.downcast::<ChannelError>()) {
        Err(Ok(error)) if error.fault() == Fault::Untrusted => Ok(()),
        other => bail!("a host of the former fleet: {other:?}"),
    }
}

fn refused(operator: &Operator, command: &[&str], word: &str) -> Result<()> {
    let ran = operator.run(command)?;
    let refused = ran.code == Some(1) && ran.stderr.contains(word);
    ensure!(refused, "{command:?}, `{word}` is due: {ran:?}");
    Ok(())
}
