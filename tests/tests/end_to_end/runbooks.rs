//! The runbooks of compromised keys, carried out with the commands that RUNBOOKS.md gives.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::host::{CardReply, CardRequest};
use bartizan_tests::layout;
use bartizan_tests::operator::{Operator, Ran};
use bartizan_tests::stack::{Guest, GuestSpec, SECOND_OPERATOR};
use serde_json::Value;
use uuid::Uuid;

use crate::Case;
use crate::compromised::Hypervisor;
use crate::requests::{Enrolled, ask_nonce, attest, nonce, request, some_page};
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("runbooks::each_section_has_its_case", sections),
    ("runbooks::token_key", token_key),
    ("runbooks::tls_server_key", tls_server_key),
    ("runbooks::tls_client_key", tls_client_key),
    ("runbooks::report_and_guest_key", report_and_guest_key),
    ("runbooks::card_identity", card_identity),
    ("runbooks::operators_key", operators_key),
    ("runbooks::release_key", release_key),
];

const RUNBOOKS: &str = include_str!("../../../RUNBOOKS.md");
/// How long a guest may take to be started again.
const RESTART: Duration = Duration::from_secs(240);
const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

/// A section's commands that are not done yet.
pub(crate) struct Runbook<'o> {
    operator: &'o Operator,
    commands: VecDeque<&'static str>,
}

impl<'o> Runbook<'o> {
    /// That of the section, or of the one within a section, with this title.
    pub(crate) fn of(title: &str, operator: &'o Operator) -> Result<Self> {
        let heading = format!("## {title}\n");
        let (_, rest) = RUNBOOKS.split_once(&heading).context("the section")?;
        let section = rest.split("\n## ").next().unwrap_or_default();
        let commands = section.lines().filter(|line| line.starts_with("bartizan "));
        Ok(Self {
            operator,
            commands: commands.collect(),
        })
    }

    /// What is left is for another operator to do.
    pub(crate) fn by(self, operator: &'o Operator) -> Self {
        Self { operator, ..self }
    }

    /// Carries the next command out, which must begin so.
    fn next(&mut self, begins: &str, names: &[(&str, &str)]) -> Result<Ran> {
        let command = self.commands.pop_front().context("no command is left")?;
        let words = command.strip_prefix("bartizan ").unwrap_or(command);
        ensure!(words.starts_with(begins), "`{begins}` expected: {words}");
        let put_in = |word: &str| match word.strip_prefix('$') {
            None => Ok(word.to_owned()),
            Some(name) => names
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
                .with_context(|| format!("${name} stands for nothing")),
        };
        let words = words.split(' ').map(put_in).collect::<Result<Vec<_>>>()?;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.operator.run(&words)
    }

    pub(crate) fn must(&mut self, begins: &str, names: &[(&str, &str)]) -> Result<Value> {
        let ran = self.next(begins, names)?;
        ensure!(ran.code == Some(0), "`{begins}`: {ran:?}");
        Ok(ran.json)
    }

    pub(crate) fn end(self) -> Result<()> {
        ensure!(self.commands.is_empty(), "not done: {:?}", self.commands);
        Ok(())
    }
}

fn sections(_: &mut World) -> Result<()> {
    let titles: Vec<_> = (RUNBOOKS.lines())
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let known = [
        "A token key",
        "The verifier's TLS server key",
        "A host's TLS client key",
        "A report key",
        "A guest's key",
        "A host's card identity",
        "An operator's key",
        "The release key",
        // Another fleet: a test of the verifier's. Another one, before anything happened: `rotations::fleet_ca_is_followed`.
        "The fleet CA",
    ];
    ensure!(titles == known, "{titles:?}");
    Ok(())
}

fn token_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    affirmed(web)?;
    revoke_at_verifier(&stack.operator, "A token key", "token", web)
}

fn tls_server_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let title = "The verifier's TLS server key";
    revoke_at_verifier(&stack.operator, title, "tls-server", web)
}

fn revoke_at_verifier(operator: &Operator, title: &str, kind: &str, web: &mut Guest) -> Result<()> {
    let mut book = Runbook::of(title, operator)?;
    let keys = book.must("key list verifier", &[])?;
    let stolen = current(&keys, kind)?;
    let names = [("KEY", stolen.as_str())];
    book.must(&format!("key revoke {kind}"), &names)?;
    let events = book.must("key history verifier", &[])?;
    book.end()?;
    told(&events, &stolen, &["revoked", "destroyed"])?;
    let after = operator.must(&["key", "list", "verifier"])?;
    ensure!(current(&after, kind)? != stolen, "it is in use: {after}");
    affirmed(web)
}

fn tls_client_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let operator = &stack.operator;
    let card = Enrolled::of(web)?.guest.card.to_string();
    let stolen = current(&operator.must(&["key", "list", "host"])?, "tls-client")?;
    let mut book = Runbook::of("A host's TLS client key", operator)?;
    book.must("key rotate tls-client", &[])?;
    let events = book.must("key history host", &[])?;
    told(&events, &stolen, &["certified", "superseded"])?;
    affirmed(web)?;
    let names = [("CARD", card.as_str())];
    book.must("revocation add host", &names)?;
    let refused = ask_nonce(web).and_then(|answer| answer.must_refuse("host-revoked"));
    book.must("revocation remove host", &names)?;
    refused?;
    book.end()?;
    affirmed(web)
}

/// The guest is this case's own, since its boot is ended.
fn report_and_guest_key(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let operator = &stack.operator;
    let mut guest = stack.host.boot(&GuestSpec {
        memory_mib: 512,
        ..GuestSpec::new("book")
    })?;
    affirmed(&mut guest)?;
    let mut book = Runbook::of("A report key", operator)?;
    let rotated = book.must("key rotate report", &[("VM", "book")])?;
    let new = text(&rotated["id"])?;
    let stolen = text(&rotated["destroyed"])?;
    let events = book.must("key history host", &[])?;
    book.end()?;
    told(&events, &stolen, &["certified"])?;
    told(&events, &new, &["certified"])?;
    affirmed(&mut guest)?;

    let before = Enrolled::of(&mut guest)?;
    let under_way = before.sign(&request("nginx", nonce(&mut guest)?, some_page())?)?;
    let urn = before.guest.to_string();
    let record = layout::text(&stack.layout.path("book.launch"))?;
    let names = [
        ("GUEST", urn.as_str()),
        ("VM", "book"),
        ("RECORD", record.as_str()),
    ];
    let mut book = Runbook::of("A guest's key", operator)?;
    book.must("revocation add guest", &names)?;
    attest(&mut guest, &under_way)?.must_refuse("guest-revoked")?;
    book.must("vm stop", &names)?;
    book.must("vm run", &names)?;
    book.end()?;
    guest.agent = guest.door.wait(RESTART)?;
    let after = Enrolled::of(&mut guest)?;
    ensure!(after.guest.boot == before.guest.boot + 1, "{}", after.guest);
    affirmed(&mut guest)?;
    // Of the boot that ended nothing counts, whoever has its key.
    attest(&mut guest, &under_way)?.must_refuse("wrong-signer")?;
    operator.must(&["vm", "stop", "--force", "book"])?;
    Ok(())
}

/// At a second host. Its enrolment anew, with a store of its own, is what [`World::two_hosts`] does to any host that joins.
fn card_identity(world: &mut World) -> Result<()> {
    let (stack, web, host) = world.two_hosts()?;
    let hypervisor = Hypervisor(host);
    let guest = hypervisor.next_boot(Uuid::new_v4())?;
    hypervisor.nonce(guest)?;
    let card = guest.card.to_string();
    let operator = host.operator.clone();
    let mut book = Runbook::of("A host's card identity", &operator)?;
    book.must("revocation add host", &[("CARD", card.as_str())])?;
    let refused = match hypervisor.ask(&CardRequest::Nonce { guest }) {
        Ok(CardReply::Refused(refusal)) if refusal.to_string().contains("host-revoked") => Ok(()),
        other => Err(anyhow::anyhow!("not refused: {other:?}")),
    };
    // What operators order of it is refused, too: it may not ask how they stand.
    let ordered = book.next("vm list", &[]);
    let code = book.must("host join-code", &[("NAME", "host-2")]);
    stack
        .operator
        .must(&["revocation", "remove", "host", &card])?;
    refused?;
    ensure!(
        ordered?.code != Some(0),
        "a revoked host did what it was ordered"
    );
    ensure!(!text(&code?["code"])?.is_empty(), "no join code");
    // The other host is not concerned.
    affirmed(web)
}

fn operators_key(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let mut book = Runbook::of("An operator's key", &stack.operator)?;
    stack.second_operator.must(&["vm", "list"])?;
    book.must("revocation add operator", &[("NAME", SECOND_OPERATOR)])?;
    let ordered = stack.second_operator.run(&["vm", "list"]);
    let asked = stack.second_operator.run(&["key", "list", "verifier"]);
    let listed = book.must("revocation list", &[]);
    let restore = ["revocation", "remove", "operator", SECOND_OPERATOR];
    stack.operator.must(&restore)?;
    for ran in [ordered?, asked?] {
        let refused = ran.code == Some(1) && ran.stderr.contains("revoked");
        ensure!(refused, "{ran:?}");
    }
    let listed = listed?;
    let is_it = |row: &Value| row["kind"] == "operator" && row["subject"] == SECOND_OPERATOR;
    ensure!(rows(&listed)?.iter().any(is_it), "{listed}");
    book.end()
}

/// That a key which left the configuration takes its releases along is a test of the verifier's.
fn release_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let operator = &stack.operator;
    affirmed(web)?;
    // Other hosts' releases stay.
    let card = Enrolled::of(web)?.guest.card.to_string();
    let boots = operator.must(&["host", "boots", &card])?;
    let bundle = text(&rows(&boots)?.first().context("a boot")?["bundle"])?;
    let mut book = Runbook::of("The release key", operator)?;
    let listed = book.must("release list", &[])?;
    let in_force = |row: &Value| row["manifest"] == *bundle && row["state"] == "in force";
    ensure!(rows(&listed)?.iter().any(in_force), "{listed}");
    book.must("release retire", &[("MANIFEST", &bundle)])?;
    book.end()?;
    let refused = ask_nonce(web).and_then(|answer| answer.must_refuse("boot-release-unknown"));
    stack.host.releases.register()?;
    refused?;
    affirmed(web)
}

/// The id of the key of a kind that is in use.
fn current(keys: &Value, kind: &str) -> Result<String> {
    let is_it = |key: &&Value| key["kind"] == kind && key["current"] == true;
    let mut found = rows(keys)?.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(key), None) => text(&key["id"]),
        _ => bail!("not one {kind} key is in use: {keys}"),
    }
}

/// That each of these happened to a key.
fn told(events: &Value, id: &str, words: &[&str]) -> Result<()> {
    let rows = rows(events)?;
    for word in words {
        let is_it = |event: &Value| event["id"] == id && event["event"] == *word;
        ensure!(rows.iter().any(is_it), "{id} was not {word}: {events}");
    }
    Ok(())
}

fn rows(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("a list")
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a text")?.to_owned())
}

fn affirmed(guest: &mut Guest) -> Result<()> {
    let (code, answer) = guest.attest(NGINX)?;
    ensure!(code == Some(0), "{answer}");
    Ok(())
}
