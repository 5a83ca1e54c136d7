//! Stacks whose vaults, the verifier's and the host's, have their keys in TPMs or in tokens: they do the main job, and go on after a
//! device was lost under load, without a restart of anything.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_tests::hsm::Hsm;
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec, Keeping, Kept, Stack};
use bartizan_tests::token::{Token, Tpm};
use serde_json::Value;

use crate::Case;
use crate::secrets::{self, Door};
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("devices_lost::tpms_are_killed_under_load", tpms),
    (
        "devices_lost::an_hsm_is_killed_and_a_token_drawn_under_load",
        tokens,
    ),
];

const ATTEST: &str = "/opt/bartizan/bin/bartizan-guest --json attest --application nginx --pid $(cat /run/nginx.pid)";
/// `bartizan-guest`'s exit code where trying again can help (EX_UNAVAILABLE of sysexits(3)).
const UNAVAILABLE: i64 = 69;
/// What a guest is told while a device is away: of its host's vault, of the verifier's, or of a link that neither could sign for.
const AWAY: &[&str] = &["vault-away", "verifier-away"];
/// What else, of a measurer that was started meanwhile.
const NOT_CERTIFIED: &str = "no-report-key";
/// How long the stack may take until something is seen.
const PATIENCE: Duration = Duration::from_secs(120);

fn tpms(_: &mut World) -> Result<()> {
    let mut made = None;
    let stack = Stack::keeping(|layout, _, maker| {
        let tpms = [
            Tpm::new(&layout.path("tpm-v"), maker)?,
            Tpm::new(&layout.path("tpm-h"), maker)?,
        ];
        let keeping = Keeping {
            verifier: Some(Kept::in_tpm(&tpms[0])),
            host: Some(Kept::in_tpm(&tpms[1])),
            enclave: false,
            uplink: false,
        };
        made = Some(tpms);
        Ok(keeping)
    })?;
    let [mut of_verifier, mut of_host] = made.context("TPMs")?;
    let mut web = main_job(&stack)?;
    secrets::are_in_the_devices_alone(&[Door::of_host(&stack)?, Door::of_verifier(&stack)?])?;
    // A crash: what the TPM had not stored is lost, its registers are. The verifier's keys are bound to none.
    under_load(&stack, &mut web, &mut Crashing(&mut of_verifier), false)?;
    // The process of a TPM that itself goes on, as a machine's does when what speaks for it is started anew.
    under_load(&stack, &mut web, &mut Suspended(&mut of_host), true)?;
    // One that was set back: the host's keys stay shut until it is booted anew, and the card says so.
    of_host.kill()?;
    of_host.start_again()?;
    kill_measurer(&stack)?;
    let card = stack.host.card.pid()?;
    let outcome = web.agent.run(ATTEST)?;
    ensure!(outcome.code == Some(69), "{outcome:?}");
    let answer: Value = serde_json::from_str(&outcome.stdout)?;
    ensure!(kind(&answer) == NOT_CERTIFIED, "{answer}");
    let rotated = stack.operator.run(&["key", "rotate", "tls-client"])?;
    ensure!(rotated.code != Some(0), "{rotated:?}");
    ensure!(stack.host.card.pid()? == card, "the card was started again");
    Ok(())
}

fn tokens(_: &mut World) -> Result<()> {
    let mut made = None;
    let stack = Stack::keeping(|layout, users, _| {
        let of_verifier = Token::new(&layout.path("hsm-v"), users.verifier_vault)?;
        let of_host = Hsm::new(&layout.path("hsm-h"), users.vault)?;
        let keeping = Keeping {
            verifier: Some(Kept::in_token(&of_verifier)?),
            host: Some(Kept::in_hsm(&of_host)?),
            enclave: false,
            uplink: false,
        };
        made = Some((of_verifier, of_host));
        Ok(keeping)
    })?;
    let (of_verifier, mut of_host) = made.context("tokens")?;
    let mut web = main_job(&stack)?;
    // SoftHSM is a library, so that its keys are in the process that loads it: of the host, p11-kit's.
    secrets::are_in_the_devices_alone(&[Door::of_host(&stack)?])?;
    under_load(&stack, &mut web, &mut Drawn(of_verifier), false)?;
    under_load(&stack, &mut web, &mut Served(&mut of_host), true)
}

/// A guest's nginx is affirmed, by a token that the vault's device signed; a patched one is not.
fn main_job(stack: &Stack) -> Result<Guest> {
    stack.register_package("nginx", "/usr/sbin/nginx", "nginx")?;
    let mut web = stack.host.boot(&GuestSpec::small("web"))?;
    let (code, answer) = web.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
    ensure!(
        code == Some(0) && answer["status"] == "affirming",
        "{answer}"
    );
    let nginx = bartizan_tests::nginx::Nginx::of(&mut web)?;
    nginx.while_patched(&mut web, |web| {
        let (code, answer) = web.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
        ensure!(
            code == Some(1) && answer["status"] == "contraindicated",
            "{answer}"
        );
        Ok(())
    })?;
    Ok(web)
}

/// How a device is lost and found again.
trait Device {
    fn lose(&mut self) -> Result<()>;
    fn find(&mut self) -> Result<()>;
}

/// A TPM that is killed, with what it had not stored.
struct Crashing<'t>(&'t mut Tpm);

/// A TPM whose process alone is killed.
struct Suspended<'t>(&'t mut Tpm);

/// A token whose process is killed.
struct Served<'h>(&'h mut Hsm);

/// A token that is drawn and put back.
struct Drawn(Token);

impl Device for Crashing<'_> {
    fn lose(&mut self) -> Result<()> {
        self.0.kill()
    }

    fn find(&mut self) -> Result<()> {
        self.0.start_again()
    }
}

impl Device for Suspended<'_> {
    fn lose(&mut self) -> Result<()> {
        self.0.suspend()
    }

    fn find(&mut self) -> Result<()> {
        self.0.resume()
    }
}

impl Device for Served<'_> {
    fn lose(&mut self) -> Result<()> {
        self.0.kill()
    }

    fn find(&mut self) -> Result<()> {
        self.0.start_again()
    }
}

impl Device for Drawn {
    fn lose(&mut self) -> Result<()> {
        self.0.take_away()
    }

    fn find(&mut self) -> Result<()> {
        self.0.put_back()
    }
}

/// A guest attests without pause. While the device is away it waits or is refused with a type; then it goes on. `kills_measurer`: the
/// next one wants its key certified by the host's vault.
fn under_load(
    stack: &Stack,
    web: &mut Guest,
    device: &mut dyn Device,
    kills_measurer: bool,
) -> Result<()> {
    let before = daemons(stack)?;
    web.agent.must(&format!(
        "rm -f /run/answers /run/over
         (while [ ! -e /run/over ]; do O=$({ATTEST} 2>/dev/null); echo \"$? $O\"; done; echo over) > /run/answers 2>/dev/null &"
    ))?;
    let begun = answers(web)?.len();
    until(web, |answers| affirmed(answers) >= 2)?;
    device.lose()?;
    if kills_measurer {
        kill_measurer(stack)?;
    }
    let away = until(web, |answers| refused(answers) >= 2);
    device.find()?;
    let refused_before = answers(web)?.len().max(begun);
    away?;
    let all = until(web, |answers| affirmed(&answers[refused_before..]) >= 3)?;
    web.agent.must("touch /run/over; for i in $(seq 600); do tail -n1 /run/answers | grep -qx over && break; sleep 0.1; done")?;
    for (code, answer) in &all {
        let is_away = AWAY.contains(&kind(answer));
        let typed = is_away || kills_measurer && kind(answer) == NOT_CERTIFIED;
        let typed = *code == UNAVAILABLE && typed;
        ensure!(
            *code == 0 || typed,
            "neither affirmed nor unavailable ({code}): {answer}"
        );
    }
    ensure!(daemons(stack)? == before, "a daemon was started again");
    Ok(())
}

fn daemons(stack: &Stack) -> Result<[u32; 6]> {
    let host = &stack.host;
    Ok([
        host.card.pid()?,
        host.vault.pid()?,
        host.devices.pid()?,
        host.hypervisor.pid()?,
        stack.verifier.pid()?,
        stack.verifier_vault.pid()?,
    ])
}

/// Exit codes, and what was printed.
fn answers(web: &mut Guest) -> Result<Vec<(i64, Value)>> {
    let lines = web.agent.must("cat /run/answers")?;
    let answer = |line: &str| {
        let (code, json) = line.split_once(' ')?;
        Some((
            code.parse().ok()?,
            serde_json::from_str(json).unwrap_or_default(),
        ))
    };
    Ok(lines.lines().filter_map(answer).collect())
}

/// What kind of refusal an answer is, the verifier's where it was the verifier's.
fn kind(answer: &Value) -> &str {
    let problem = &answer["problem"];
    let kind = (problem["verifier"]["type"].as_str()).or(problem["type"].as_str());
    let name = kind.and_then(|kind| kind.strip_prefix("urn:bartizan:problem:"));
    name.unwrap_or("no problem")
}

fn until(web: &mut Guest, seen: impl Fn(&[(i64, Value)]) -> bool) -> Result<Vec<(i64, Value)>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answers = answers(web)?;
        if seen(&answers) {
            return Ok(answers);
        }
        if Instant::now() > deadline {
            let last = answers.len().saturating_sub(5);
            bail!(
                "not seen within {PATIENCE:?}; the last answers: {:?}",
                &answers[last..]
            );
        }
    }
}

fn affirmed(answers: &[(i64, Value)]) -> usize {
    answers.iter().filter(|(code, _)| *code == 0).count()
}

fn refused(answers: &[(i64, Value)]) -> usize {
    answers
        .iter()
        .filter(|(code, _)| *code == UNAVAILABLE)
        .count()
}

fn kill_measurer(stack: &Stack) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let shown = loop {
        // Whether the operator is revoked is asked by a TLS key of the device that was lost a moment ago.
        match stack.operator.must(&["vm", "show", "web"]) {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::yield_now(),
            Ok(shown) => break shown,
        }
    };
    let measurer = Process::of_json(&shown["measurer_pid"])?;
    let end = measurer.end()?;
    measurer.kill()?;
    end.wait(PATIENCE)
}
