//! What is revoked gets nothing from the next request on, and everything again once that is taken back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bartizan_tests::daemon::Daemon;
use bartizan_tests::layout;
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec, SECOND_OPERATOR, Stack};

use crate::Case;
use crate::requests::{Enrolled, ask_nonce, attest, nonce, request, some_page};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::revoked_guest", revoked_guest),
    ("refusals::revoked_host", revoked_host),
    ("refusals::revoked_application", revoked_application),
    ("refusals::revoked_operator", revoked_operator),
];

/// How long a guest may take to be started again.
const RESTART: Duration = Duration::from_secs(240);

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

/// What an operator signed is launched no more, neither by hand nor by its restart policy, once the operator is revoked;
/// a guest that runs goes on until it ends.
fn revoked_operator(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let spec = GuestSpec {
        restart: "always",
        ..GuestSpec::small("bobs")
    };
    let signer = stack.second_operator.clone();
    let alice = std::mem::replace(&mut stack.host.operator, signer);
    let booted = stack.host.boot(&spec);
    stack.host.operator = alice;
    let mut guest = booted?;
    let launch = layout::text(&stack.layout.path("bobs.launch"))?;
    let operator = &stack.operator;

    // A name in another spelling would match nobody.
    let miswritten = ["revocation", "add", "operator", "Bob", "--reason", "a test"];
    let miswritten = operator.run(&miswritten)?;
    ensure!(
        miswritten.code == Some(1) && miswritten.stderr.contains("revocation-subject-invalid"),
        "{miswritten:?}"
    );
    let revoke = [
        "revocation",
        "add",
        "operator",
        SECOND_OPERATOR,
        "--reason",
        "a test",
    ];
    let revoked = operator.must(&revoke)?;
    ensure!(revoked["ok"] == true, "{revoked}");
    let refused = affirmed(&mut guest)
        .and_then(|()| {
            let shown = operator.must(&["vm", "show", "bobs"])?;
            Process::of_json(&shown["qemu_pid"])?.kill()
        })
        .and_then(|()| logged(&stack.host.hypervisor, "not restarted yet", SECOND_OPERATOR))
        .and_then(|()| {
            // Its restart is tried again and again: until it is stopped, it is about to run.
            operator.must(&["vm", "stop", "bobs"])?;
            let ran = operator.run(&["vm", "run", &launch])?;
            ensure!(
                ran.code == Some(1) && ran.stderr.contains("revoked"),
                "{ran:?}"
            );
            Ok(())
        });
    operator.must(&["revocation", "remove", "operator", SECOND_OPERATOR])?;
    refused?;
    operator.must(&["vm", "run", &launch])?;
    guest.agent = guest.door.wait(RESTART)?;
    affirmed(&mut guest)?;
    operator.must(&["vm", "stop", "--force", "bobs"])?;
    Ok(())
}

/// Waits until a daemon has logged a line with both of these.
fn logged(daemon: &Daemon, one: &str, other: &str) -> Result<()> {
    let deadline = Instant::now() + RESTART;
    loop {
        let log = std::fs::read_to_string(daemon.log())?;
        let both = |line: &str| line.contains(one) && line.contains(other);
        if log.lines().any(both) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "`{one}` is not in its log");
    }
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
