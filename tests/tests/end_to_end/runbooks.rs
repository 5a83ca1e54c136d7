//! The runbooks of compromised keys, carried out with the commands that RUNBOOKS.md gives.

mod book;
mod card_identity;
mod fleet_ca;
mod release_key;
mod sealing_key;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::keys::KeyKind;
use bartizan_tests::layout;
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Guest, GuestSpec, SECOND_OPERATOR};
use serde_json::Value;

use crate::Case;
use crate::compromised::tls_client::TlsClient;
use crate::requests::{Enrolled, ask_nonce, attest, nonce, request, some_page};
use crate::rotations;
use crate::world::World;
use book::RUNBOOKS;
pub(crate) use book::Runbook;

pub(crate) const CASES: &[Case] = &[
    ("runbooks::each_section_has_its_case", sections),
    ("runbooks::token_key", token_key),
    ("runbooks::tls_server_key", tls_server_key),
    ("runbooks::tls_client_key", tls_client_key),
    ("runbooks::report_and_guest_key", report_and_guest_key),
    ("runbooks::card_identity", card_identity::carried_out),
    ("runbooks::sealing_key", sealing_key::carried_out),
    ("runbooks::operators_key", operators_key),
];

/// On stacks of their own: what they change is the fleet's.
pub(crate) const OF_THEIR_OWN: &[Case] = &[
    ("runbooks::release_key", release_key::carried_out),
    ("runbooks::fleet_ca", fleet_ca::carried_out),
];

/// How long a guest may take to be started again.
const RESTART: Duration = Duration::from_secs(240);
const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

/// The section for a kind of key, and the case that carries it out.
const fn section(kind: KeyKind) -> (&'static str, &'static str) {
    match kind {
        KeyKind::FleetCa => ("The fleet CA", "runbooks::fleet_ca"),
        KeyKind::Card => ("A host's card identity", "runbooks::card_identity"),
        KeyKind::TlsServer => ("The verifier's TLS server key", "runbooks::tls_server_key"),
        KeyKind::TlsClient | KeyKind::EnclaveTls | KeyKind::Evidence | KeyKind::Hypervisor => {
            ("A host's TLS client key", "runbooks::tls_client_key")
        }
        KeyKind::Token => ("A token key", "runbooks::token_key"),
        KeyKind::Report => ("A report key", "runbooks::report_and_guest_key"),
        KeyKind::Guest => ("A guest's key", "runbooks::report_and_guest_key"),
        KeyKind::Operator => ("An operator's key", "runbooks::operators_key"),
        KeyKind::Sealing => ("A vault's sealing key", "runbooks::sealing_key"),
    }
}

/// Of what no vault has, and of what nobody has stolen yet.
const FURTHER: [(&str, &str); 2] = [
    ("The release key", "runbooks::release_key"),
    (
        "Another one, before anything happened",
        "rotations::fleet_ca_is_followed",
    ),
];

/// One for each kind of key, and no other; each with commands, and a case.
fn sections(_: &mut World) -> Result<()> {
    let known: Vec<_> = (KeyKind::ALL.into_iter().map(section))
        .chain(FURTHER)
        .collect();
    let expected: BTreeSet<_> = known.iter().map(|(title, _)| *title).collect();
    let titles = (RUNBOOKS.lines()).filter_map(|line| line.strip_prefix("##"));
    let titles: BTreeSet<_> = titles
        .map(|rest| rest.trim_start_matches('#').trim())
        .collect();
    ensure!(titles == expected, "{titles:?}");
    let cases = [CASES, OF_THEIR_OWN, rotations::fleet_ca::CASES].concat();
    for (title, case) in known {
        book::commands(title)?;
        ensure!(cases.iter().any(|(name, _)| *name == case), "no {case}");
    }
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
    let (stolen, events) = Runbook::carried_out(title, operator, |book| {
        let keys = book.must("key list verifier", &[])?;
        let stolen = current(&keys, kind)?;
        let names = [("KEY", stolen.as_str())];
        book.must(&format!("key revoke {kind}"), &names)?;
        let events = book.must("key history verifier", &[])?;
        Ok((stolen, events))
    })?;
    told(&events, &stolen, &["revoked", "destroyed"])?;
    let after = operator.must(&["key", "list", "verifier"])?;
    ensure!(current(&after, kind)? != stolen, "it is in use: {after}");
    affirmed(web)
}

fn tls_client_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let operator = &stack.operator;
    let guest = Enrolled::of(web)?.guest;
    let card = guest.card.to_string();
    let id = current(&operator.must(&["key", "list", "host"])?, "tls-client")?;
    let stolen = TlsClient::stolen(&stack.host, &id, operator)?;
    Runbook::carried_out("A host's TLS client key", operator, |book| {
        book.must("key rotate tls-client", &[])?;
        let events = book.must("key history host", &[])?;
        told(&events, &id, &["certified", "superseded"])?;
        let keys = operator.must(&["key", "list", "host"])?;
        ensure!(current(&keys, "tls-client")? != id, "it is in use: {keys}");
        affirmed(web)?;
        // It speaks as the host to the end of its certificate, if nothing else is done.
        let answer = stolen.ask_nonce(guest)?;
        ensure!(answer.status == 200, "{answer:?}");
        let names = [("CARD", card.as_str())];
        book.must("revocation add host", &names)?;
        let refused = stolen
            .ask_nonce(guest)
            .and_then(|answer| answer.must_refuse("host-revoked"))
            .and_then(|()| ask_nonce(web)?.must_refuse("host-revoked"));
        book.must("revocation remove host", &names)?;
        refused
    })?;
    affirmed(web)
}

/// The guest is this case's own, since its boot is ended.
fn report_and_guest_key(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let operator = &stack.operator;
    let mut guest = stack.host.boot(&GuestSpec::small("book"))?;
    affirmed(&mut guest)?;
    let (rotated, events) = Runbook::carried_out("A report key", operator, |book| {
        let rotated = book.must("key rotate report", &[("VM", "book")])?;
        Ok((rotated, book.must("key history host", &[])?))
    })?;
    let new = text(&rotated["id"])?;
    let stolen = text(&rotated["destroyed"])?;
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
    Runbook::carried_out("A guest's key", operator, |book| {
        book.must("revocation add guest", &names)?;
        attest(&mut guest, &under_way)?.must_refuse("guest-revoked")?;
        book.must("vm stop", &names)?;
        book.must("vm run", &names)
    })?;
    guest.agent = guest.door.wait(RESTART)?;
    let after = Enrolled::of(&mut guest)?;
    ensure!(after.guest.boot == before.guest.boot + 1, "{}", after.guest);
    affirmed(&mut guest)?;
    // Of the boot that ended nothing counts, whoever has its key.
    attest(&mut guest, &under_way)?.must_refuse("wrong-signer")?;
    operator.must(&["vm", "stop", "--force", "book"])?;
    Ok(())
}

fn operators_key(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    stack.second_operator.must(&["vm", "list"])?;
    Runbook::carried_out("An operator's key", &stack.operator, |book| {
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
        Ok(())
    })
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
