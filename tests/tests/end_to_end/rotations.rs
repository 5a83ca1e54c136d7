//! Keys are rotated while guests attest without pause: nothing valid breaks. What is past its overlap is refused, and its key destroyed.

pub(crate) mod card;
pub(crate) mod fleet_ca;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::certificates::{ChainError, FleetCa, Usage, verify_chain};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::host::{CardReply, CardRequest};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Guest, Stack};
use serde_json::{Value, json};

use crate::Case;
use crate::compromised::Hypervisor;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("rotations::thousand_break_nothing", thousand),
    ("rotations::past_its_overlap_is_refused", past_overlap),
    ("rotations::revoked_token_key_counts_no_more", revoked),
    (
        "rotations::card_identity_leaves_the_host_who_it_is",
        card::rotated,
    ),
    (
        "rotations::card_identity_that_was_begun_is_finished",
        card::finished,
    ),
];

/// Rotations of each kind; report keys' are of each of two guests.
const TLS_CLIENT: u32 = 340;
const TLS_SERVER: u32 = 340;
const TOKEN: u32 = 200;
const REPORT: u32 = 50;
/// Of each of the two vaults.
const SEALING: u32 = 10;
/// Token keys that are left: results that are on their way are of the newest.
const TOKEN_KEYS: usize = 20;
/// How long a token key lasts in the case of overlaps, in seconds: the least for results of half of that.
const SHORT_S: u64 = 40;
const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

fn thousand(world: &mut World) -> Result<()> {
    let (stack, web, other) = world.two()?;
    let operator = &stack.operator;
    let over = AtomicBool::new(false);
    let affirmed = [const { AtomicU32::new(0) }; 2];
    let rotated = AtomicU32::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        let [of_web, of_other] = &affirmed;
        let guests = [(web, of_web), (other, of_other)].map(|(guest, affirmed)| {
            let (over, rotated) = (&over, &rotated);
            scope.spawn(move || attest_throughout(guest, over, rotated, affirmed))
        });
        let rotations = [
            scope.spawn(|| rotate(operator, TLS_CLIENT, &["tls-client"], &rotated)),
            scope.spawn(|| rotate(operator, TLS_SERVER, &["tls-server"], &rotated)),
            scope.spawn(|| rotate(operator, REPORT, &["report", "--vm", "web"], &rotated)),
            scope.spawn(|| rotate(operator, REPORT, &["report", "--vm", "other"], &rotated)),
            scope.spawn(|| rotate_tokens(operator, &rotated)),
            scope.spawn(|| rotate(operator, SEALING, &["sealing", "--of", "host"], &rotated)),
            scope.spawn(|| {
                rotate(
                    operator,
                    SEALING,
                    &["sealing", "--of", "verifier"],
                    &rotated,
                )
            }),
        ];
        let rotations = rotations.map(|thread| thread.join().unwrap_or_else(|_| bail!("a panic")));
        over.store(true, Ordering::SeqCst);
        let guests = guests.map(|thread| thread.join().unwrap_or_else(|_| bail!("a panic")));
        rotations.into_iter().chain(guests).collect::<Result<()>>()
    })?;
    let (rotated, affirmed) = (rotated.into_inner(), affirmed.map(AtomicU32::into_inner));
    eprintln!(
        "{rotated} rotations and {affirmed:?} attestations in {:?}",
        began.elapsed()
    );
    ensure!(rotated == 1000, "{rotated} rotations");
    for (whose, kind) in [
        ("host", "tls-client"),
        ("verifier", "tls-server"),
        ("verifier", "token"),
    ] {
        let events = history(operator, whose, kind)?;
        let told = |word: &str| events.iter().any(|event| event["event"] == word);
        for word in ["made", "certified", "superseded", "destroyed"] {
            ensure!(told(word), "no {kind} key was {word}: {events:?}");
        }
        ensure!(!told("not-destroyed"), "{events:?}");
    }
    for whose in ["host", "verifier"] {
        let events = history(operator, whose, "sealing")?;
        let destroyed = events.iter().filter(|event| event["event"] == "destroyed");
        ensure!(destroyed.count() >= SEALING as usize, "{events:?}");
    }
    let reports = history(operator, "host", "report")?;
    ensure!(reports.len() >= 100, "{} report keys", reports.len());
    Ok(())
}

/// Each must be affirmed, and there must be some in each quarter of the thousand rotations.
fn attest_throughout(
    guest: &mut Guest,
    over: &AtomicBool,
    rotated: &AtomicU32,
    affirmed: &AtomicU32,
) -> Result<()> {
    let mut quarters = [0_u32; 4];
    while !over.load(Ordering::SeqCst) {
        affirm(guest)?;
        affirmed.fetch_add(1, Ordering::SeqCst);
        let quarter = rotated.load(Ordering::SeqCst) as usize / 250;
        if let Some(count) = quarters.get_mut(quarter) {
            *count += 1;
        }
    }
    ensure!(
        !quarters.contains(&0),
        "{quarters:?} attestations are no load"
    );
    Ok(())
}

/// Each must be affirmed.
fn attest_until(guest: &mut Guest, over: &AtomicBool, affirmed: &AtomicU32) -> Result<()> {
    while !over.load(Ordering::SeqCst) {
        affirm(guest)?;
        affirmed.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

fn affirm(guest: &mut Guest) -> Result<()> {
    let (code, answer) = guest.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed during a rotation: {answer}");
    Ok(())
}

fn rotate(operator: &Operator, count: u32, key: &[&str], rotated: &AtomicU32) -> Result<()> {
    let command = [&["key", "rotate"], key].concat();
    for _ in 0..count {
        operator.must(&command)?;
        rotated.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Few may be valid at once: the oldest are revoked.
fn rotate_tokens(operator: &Operator, rotated: &AtomicU32) -> Result<()> {
    for _ in 0..TOKEN / 4 {
        rotate(operator, 4, &["token"], rotated)?;
        let keys = token_keys(operator)?;
        let old = keys.len().saturating_sub(TOKEN_KEYS);
        for key in keys.iter().take(old) {
            operator.must(&["key", "revoke", "token", id(key)])?;
        }
    }
    Ok(())
}

/// A token key's certificate is published, and verifies, until its end, whatever was made since; then it does neither, and its key
/// is destroyed. The keys are rotated by their schedule here.
fn past_overlap(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let path = stack.layout.path("verifier.yaml");
    let before = fs::read_to_string(&path)?;
    let mut config: Value = serde_json::from_str(&before)?;
    config["token_key_lifetime_s"] = json!(SHORT_S);
    config["token_lifetime_s"] = json!(SHORT_S / 2);
    restart_verifier(stack, &config.to_string())?;
    let seen = see_a_token_key_end(stack, web);
    restart_verifier(stack, &before)?;
    seen
}

fn restart_verifier(stack: &mut Stack, config: &str) -> Result<()> {
    stack.verifier.kill()?;
    // In place: it stays readable for the verifier.
    fs::write(stack.layout.path("verifier.yaml"), config)?;
    stack.verifier.start_again()
}

fn see_a_token_key_end(stack: &Stack, web: &mut Guest) -> Result<()> {
    let operator = &stack.operator;
    let ca = FleetCa::from_pem_or_der(&fs::read(operator.fleet_ca())?)?;
    operator.must(&["key", "rotate", "token"])?;
    let keys = token_keys(operator)?;
    let old = keys.last().context("a token key")?;
    let ends = old["not_after"].as_u64().context("its end")?;
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed by it: {answer}");
    let chain = [published(stack, old)?.context("it is published")?];
    // The schedule makes others at half of its life; it stays good meanwhile.
    let deadline = Instant::now() + Duration::from_secs(3 * SHORT_S);
    let mut superseded = false;
    while now()? <= ends {
        let newest = token_keys(operator)?;
        superseded |= newest.last().is_some_and(|newest| id(newest) != id(old));
        let (code, answer) = web.attest(NGINX)?;
        ensure!(code == Some(0), "not affirmed in the overlap: {answer}");
        let at = now()?;
        if at < ends {
            verify_chain(&chain, &ca, at, Usage::Token)?;
        }
        ensure!(Instant::now() < deadline, "its end does not come");
    }
    ensure!(superseded, "no other key was made in {SHORT_S} s");
    while published(stack, old)?.is_some() {
        ensure!(Instant::now() < deadline, "it is published still");
    }
    let refused = verify_chain(&chain, &ca, now()?, Usage::Token);
    ensure!(
        matches!(refused, Err(ChainError::Expired)),
        "not refused after its end: {refused:?}"
    );
    // At the next rotation by schedule.
    loop {
        let events = history(operator, "verifier", "token")?;
        let destroyed = |event: &&Value| event["event"] == "destroyed" && id(event) == id(old);
        if events.iter().any(|event| destroyed(&event)) {
            break;
        }
        ensure!(Instant::now() < deadline, "never destroyed: {events:?}");
    }
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed after the overlap: {answer}");
    Ok(())
}

/// The certificate that the verifier publishes of a token key, if it does, as the card hands it on: what it fetched within 30 s.
fn published(stack: &Stack, key: &Value) -> Result<Option<Vec<u8>>> {
    let certificate = hex::decode(key["certificate"].as_str().unwrap_or_default())?;
    let CardReply::Host(host) = Hypervisor(&stack.host).ask(&CardRequest::Describe)? else {
        bail!("the card does not describe the host");
    };
    let mut published = host.token_certificates.into_iter().map(Vec::from);
    Ok(published.find(|leaf| sha256(leaf)[..] == certificate))
}

fn revoked(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let operator = &stack.operator;
    operator.must(&["key", "rotate", "token"])?;
    let before = token_keys(operator)?;
    let newest = before.last().context("a token key")?;
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed before: {answer}");
    operator.must(&["key", "revoke", "token", id(newest)])?;
    let after = token_keys(operator)?;
    ensure!(
        after.iter().all(|key| id(key) != id(newest)),
        "it is still there: {after:?}"
    );
    let events = history(operator, "verifier", "token")?;
    let mut told = events.iter().filter(|event| id(event) == id(newest));
    for word in ["made", "certified", "superseded", "revoked", "destroyed"] {
        let event = told.next().context("an event")?;
        ensure!(event["event"] == word, "{word} expected: {event}");
    }
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed by another key: {answer}");
    let again = operator.run(&["key", "revoke", "token", id(newest)])?;
    ensure!(again.code == Some(1), "{again:?}");
    Ok(())
}

/// The newest last.
fn token_keys(operator: &Operator) -> Result<Vec<Value>> {
    let keys = operator.must(&["key", "list", "verifier"])?;
    let keys = keys.as_array().context("a list")?.iter();
    Ok(keys.filter(|key| key["kind"] == "token").cloned().collect())
}

fn history(operator: &Operator, whose: &str, kind: &str) -> Result<Vec<Value>> {
    let events = operator.must(&["key", "history", whose, "--kind", kind])?;
    events.as_array().cloned().context("a list")
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap_or_default()
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
