//! kill -9 of each process in turn: guests go on, the next attestation succeeds, nothing acknowledged is lost.

mod boots;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_tests::daemon::Daemon;
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, Stack};
use serde_json::Value;

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("survival::devices_are_killed", devices),
    ("survival::hypervisor_is_killed", hypervisor),
    (
        "survival::devices_are_killed_while_there_is_no_hypervisor",
        devices_without_hypervisor,
    ),
    ("survival::measurer_is_killed", measurer),
    ("survival::card_is_killed", |world| {
        killed_and_started_again(world, |stack| &mut stack.host.card)
    }),
    ("survival::vault_of_the_host_is_killed", vault),
    ("survival::verifier_is_killed", |world| {
        killed_and_started_again(world, |stack| &mut stack.verifier)
    }),
    ("survival::vault_of_the_verifier_is_killed", |world| {
        killed_and_started_again(world, |stack| &mut stack.verifier_vault)
    }),
    (
        "survival::verifier_is_killed_while_it_judges",
        acknowledged_verdicts,
    ),
    (
        "survival::qemu_is_killed_and_boots_a_new_identity",
        boots::new_identity,
    ),
    (
        "survival::killed_supervisor_leaves_no_orphan",
        boots::no_orphan,
    ),
    (
        "survival::stalled_supervisor_is_unresponsive_and_not_started_again",
        boots::stalled,
    ),
];

const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";
/// `bartizan-guest`'s exit code where trying again can help (EX_UNAVAILABLE of sysexits(3)).
const UNAVAILABLE: Option<i32> = Some(69);
/// How long the stack may take to recover from a kill.
const RECOVERY: Duration = Duration::from_secs(60);

/// The card, the verifier or its vault: while it is away attestation is refused as unavailable, then it succeeds.
fn killed_and_started_again(
    world: &mut World,
    victim: fn(&mut Stack) -> &mut Daemon,
) -> Result<()> {
    let (stack, web) = world.web()?;
    let life = Life::of(web)?;
    let acknowledged = affirmed(web)?;
    victim(stack).kill()?;
    let meanwhile = refused_as_unavailable(web).and_then(|()| life.goes_on(web));
    // Whatever came out: the other cases need it.
    victim(stack).start_again()?;
    meanwhile?;
    affirmed(web)?;
    life.goes_on(web)?;
    let shown = stack.operator.must(&["verdict", "show", &acknowledged])?;
    ensure!(shown["status"] == "affirming", "{shown}");
    Ok(())
}

/// It is needed for a new report key, and for no attestation with the old one.
fn vault(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let life = Life::of(web)?;
    affirmed(web)?;
    stack.host.vault.kill()?;
    let mut meanwhile = || {
        affirmed(web)?;
        let measurer = measurer_of(stack, "web")?;
        let end = measurer.end()?;
        measurer.kill()?;
        end.wait(RECOVERY)?;
        refused_as_unavailable(web)?;
        life.goes_on(web)
    };
    let meanwhile = meanwhile();
    stack.host.vault.start_again()?;
    meanwhile?;
    affirmed(web)?;
    life.goes_on(web)
}

/// The hands in the guests are connected through the devices: they have to connect again.
fn devices(world: &mut World) -> Result<()> {
    let (stack, web, other) = world.two()?;
    let lives = [Life::of(web)?, Life::of(other)?];
    affirmed(web)?;
    stack.host.devices.kill()?;
    stack.host.devices.start_again()?;
    for (guest, life) in [web, other].into_iter().zip(lives) {
        guest.agent = guest.door.wait(RECOVERY)?;
        affirmed(guest)?;
        life.goes_on(guest)?;
    }
    Ok(())
}

/// New devices know no guest until a daemon comes that tells them; until then the guests go on without vsock.
fn devices_without_hypervisor(world: &mut World) -> Result<()> {
    let (stack, web, other) = world.two()?;
    let lives = [Life::of(web)?, Life::of(other)?];
    affirmed(web)?;
    stack.host.hypervisor.kill()?;
    stack.host.devices.kill()?;
    let back = stack.host.devices.start_again();
    stack.host.hypervisor.start_again()?;
    back?;
    for (guest, life) in [web, other].into_iter().zip(lives) {
        guest.agent = guest.door.wait(RECOVERY)?;
        affirmed(guest)?;
        life.goes_on(guest)?;
    }
    Ok(())
}

fn hypervisor(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let life = Life::of(web)?;
    affirmed(web)?;
    let shown = stack.operator.must(&["vm", "show", "web"])?;
    stack.host.hypervisor.kill()?;
    let meanwhile = refused_as_unavailable(web).and_then(|()| life.goes_on(web));
    stack.host.hypervisor.start_again()?;
    meanwhile?;
    let listed = listed(stack, "web")?.context("the guest was not taken up again")?;
    ensure!(
        listed["enrolled"] == true && listed["guest"] == shown["guest"],
        "{listed}"
    );
    let again = stack.operator.must(&["vm", "show", "web"])?;
    ensure!(again == shown, "was {shown}, is {again}");
    affirmed(web)?;
    life.goes_on(web)
}

/// Its supervisor starts another one, which has a report key of its own.
fn measurer(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let life = Life::of(web)?;
    affirmed(web)?;
    let killed = measurer_of(stack, "web")?;
    let end = killed.end()?;
    killed.kill()?;
    end.wait(RECOVERY)?;
    affirmed(web)?;
    let now = measurer_of(stack, "web")?;
    ensure!(now.pid() != killed.pid(), "the same measurer");
    life.goes_on(web)
}

/// A guest attests without pause; each verdict that it was told of outlives the kill.
fn acknowledged_verdicts(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attest = format!("/opt/bartizan/bin/bartizan-guest --json attest {NGINX}");
    web.agent.must(&format!(
        "rm -f /run/verdicts /run/over
         (while [ ! -e /run/over ]; do {attest}; done; echo over) > /run/verdicts 2>/dev/null &"
    ))?;
    let told = |web: &mut Guest, enough: usize| {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let told = told_of(&web.agent.must("cat /run/verdicts")?);
            if told.len() >= enough {
                return Ok(told.len());
            }
            ensure!(Instant::now() < deadline, "{} verdicts only", told.len());
        }
    };
    let before = told(web, 3)?;
    stack.verifier.kill()?;
    stack.verifier.start_again()?;
    told(web, before + 3)?;
    web.agent.must("touch /run/over")?;
    let all = web.agent.must(
        "for i in $(seq 600); do tail -n1 /run/verdicts | grep -qx over && break; sleep 0.1; done; cat /run/verdicts",
    )?;
    let listed = stack.operator.must(&[
        "verdict",
        "list",
        "--application",
        "nginx",
        "--limit",
        "1000",
    ])?;
    let listed = |id: &str| {
        let mut verdicts = listed.as_array().into_iter().flatten();
        verdicts.any(|verdict| verdict["id"] == id)
    };
    for (id, token) in told_of(&all) {
        ensure!(listed(&id), "{id} is not listed");
        let kept = stack.operator.must(&["verdict", "show", &id])?;
        ensure!(kept["token"] == token, "{id} was told otherwise: {kept}");
    }
    Ok(())
}

/// What `bartizan-guest attest --json`, one answer a line, was told: verdict and token.
fn told_of(lines: &str) -> Vec<(String, Value)> {
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|answer| Some((answer["verdict"].as_str()?.into(), answer["token"].clone())))
        .collect()
}

/// What a guest would not keep if it were disturbed.
struct Life {
    boot: String,
    uptime: f64,
}

impl Life {
    fn of(guest: &mut Guest) -> Result<Self> {
        let boot = guest.agent.must("cat /proc/sys/kernel/random/boot_id")?;
        let uptime = guest.agent.must("cut -d' ' -f1 /proc/uptime")?;
        Ok(Self {
            boot,
            uptime: uptime.trim().parse()?,
        })
    }

    /// The same boot, its clock runs, and its server serves.
    fn goes_on(&self, guest: &mut Guest) -> Result<()> {
        let now = Self::of(guest)?;
        ensure!(now.boot == self.boot, "the guest was booted anew");
        ensure!(now.uptime > self.uptime, "the guest's clock stands still");
        let answer = guest.agent.must(
            "bash -c 'exec 3<>/dev/tcp/127.0.0.1/80; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; head -n1 <&3'",
        )?;
        ensure!(answer.contains("200 OK"), "nginx answers {answer:?}");
        Ok(())
    }
}

/// Has nginx attested, again as long as the host says that it is unavailable; returns the verdict.
fn affirmed(guest: &mut Guest) -> Result<String> {
    let deadline = Instant::now() + RECOVERY;
    loop {
        let (code, answer) = guest.attest(NGINX)?;
        if code == Some(0) {
            return Ok(answer["verdict"].as_str().context("a verdict")?.to_owned());
        }
        if code != UNAVAILABLE || Instant::now() > deadline {
            bail!("not affirmed ({code:?}): {answer}");
        }
    }
}

fn refused_as_unavailable(guest: &mut Guest) -> Result<()> {
    let (code, answer) = guest.attest(NGINX)?;
    ensure!(code == UNAVAILABLE, "not unavailable ({code:?}): {answer}");
    Ok(())
}

fn listed(stack: &Stack, name: &str) -> Result<Option<Value>> {
    let guests = stack.operator.must(&["vm", "list"])?;
    let guests = guests.as_array().context("a list of guests")?;
    Ok(guests.iter().find(|guest| guest["name"] == name).cloned())
}

/// The measurer of a guest, once there is one.
fn measurer_of(stack: &Stack, guest: &str) -> Result<Process> {
    let deadline = Instant::now() + RECOVERY;
    loop {
        let shown = stack.operator.must(&["vm", "show", guest])?;
        if !shown["measurer_pid"].is_null() {
            return Process::of_json(&shown["measurer_pid"]);
        }
        ensure!(Instant::now() < deadline, "no measurer: {shown}");
    }
}
