//! What is revoked gets nothing from the next request on, and everything again once that is taken back.

use anyhow::{Result, ensure};
use bartizan_tests::stack::{Guest, Stack};

use crate::Case;
use crate::requests::{Enrolled, ask_nonce, attest, nonce, request, some_page};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::revoked_guest", revoked_guest),
    ("refusals::revoked_host", revoked_host),
    ("refusals::revoked_application", revoked_application),
];

fn revoked_guest(world: &mut World) -> Result<()> {
    let (stack, web, other) = world.two()?;
    let subject = Enrolled::of(web)?.guest.to_string();
    let during = |web: &mut Guest| {
        ask_nonce(web)?.must_refuse("guest-revoked")?;
        // Its neighbour is not concerned.
        affirmed(other)
    };
    revoked(stack, web, "guest", &subject, "guest-revoked", during)
}

fn revoked_host(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let subject = Enrolled::of(web)?.guest.card.to_string();
    let during = |web: &mut Guest| ask_nonce(web)?.must_refuse("host-revoked");
    revoked(stack, web, "host", &subject, "host-revoked", during)
}

fn revoked_application(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let during = |web: &mut Guest| {
        // Its neighbour is not concerned.
        web.agent.must("/opt/bartizan/bin/bartizan-sample")?;
        Ok(())
    };
    let problem = "application-revoked";
    revoked(stack, web, "application", "nginx", problem, during)
}

/// Revokes, has a request refused whose nonce was given before, and takes the revocation back whatever happens.
fn revoked(
    stack: &Stack,
    web: &mut Guest,
    kind: &str,
    subject: &str,
    problem: &str,
    during: impl FnOnce(&mut Guest) -> Result<()>,
) -> Result<()> {
    affirmed(web)?;
    let enrolled = Enrolled::of(web)?;
    let signed = enrolled.sign(&request("nginx", nonce(web)?, some_page())?)?;
    let operator = &stack.operator;
    operator.must(&["revocation", "add", kind, subject, "--reason", "a test"])?;
    let refused = attest(web, &signed)
        .and_then(|answer| answer.must_refuse(problem))
        .and_then(|()| during(web));
    operator.must(&["revocation", "remove", kind, subject])?;
    refused?;
    affirmed(web)
}

fn affirmed(guest: &mut Guest) -> Result<()> {
    let (code, answer) = guest.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
    ensure!(code == Some(0), "{answer}");
    Ok(())
}
