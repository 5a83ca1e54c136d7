//! A hostile guest at full speed: its neighbour's attestation goes on, and what it can cost the host is bounded.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, Stack};
use serde_json::Value;

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[("hostile::flood_costs_its_neighbour_nothing", flood)];

const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";
/// Requests of the flood: garbage, half ones, endless ones and valid ones.
const REQUESTS: u64 = 20_000;
/// Attestations of the neighbour that have to succeed while the flood lasts.
const ATTESTATIONS: usize = 10;
/// How long one of them may take, on two cores that execute two guests by translation.
const SLOWEST: Duration = Duration::from_secs(30);
/// How long the flood may take.
const FLOOD: Duration = Duration::from_secs(420);
/// How long a guest may stand still in any minute, by the default budget of a launch record.
const PAUSES: Duration = Duration::from_secs(6);
/// What devices and hypervisor may each hold: what one guest's 256 connections of 128 KiB can make devices hold. The
/// hypervisor takes 32 connections a guest, of 16 KiB of head and 64 KiB of body: less.
const MEMORY: u64 = 32 << 20;

/// 20,000 requests at full speed, stalled connections, and attestations without pause from `other`.
fn flood(world: &mut World) -> Result<()> {
    let (stack, web, other) = world.two()?;
    let shown = stack.operator.must(&["vm", "show", "other"])?;
    let urn = shown["guest"].as_str().context("a guest's URN")?;
    let (start, paused_before) = (Instant::now(), paused(stack, urn)?);
    other.agent.must(&format!(
        "rm -f /run/flood /run/attested
         (/opt/bartizan/bin/bartizan-test-agent flood {REQUESTS} > /run/flood.part; mv /run/flood.part /run/flood) > /run/flood.err 2>&1 &
         (while [ ! -e /run/flood ]; do /opt/bartizan/bin/bartizan-guest --json attest {NGINX}; done; echo over) > /run/attested 2>/dev/null &"
    ))?;
    let mut attested = 0;
    let mut slowest = Duration::ZERO;
    let mut largest = 0;
    let deadline = start + FLOOD;
    while other.agent.run("test -e /run/flood")?.code != Some(0) {
        let begun = Instant::now();
        ensure!(
            begun < deadline,
            "the flood takes too long: {}",
            state(other)?
        );
        let (code, answer) = web.attest(NGINX)?;
        ensure!(code == Some(0), "the neighbour: {code:?} {answer}");
        attested += 1;
        slowest = slowest.max(begun.elapsed());
        largest = largest.max(memory(stack)?);
    }
    let flood: Value = serde_json::from_str(&other.agent.must("cat /run/flood")?)?;
    let costly = other.agent.must(
        "for i in $(seq 600); do tail -n1 /run/attested | grep -qx over && break; sleep 0.1; done; cat /run/attested",
    )?;
    let (affirmed, busy) = (
        costly.matches("affirming").count(),
        costly.matches("busy").count(),
    );
    let paused = paused(stack, urn)? - paused_before;
    eprintln!(
        "{flood} for {:?}; paused {paused:?}, attested {affirmed}, busy {busy}; the neighbour {attested}, slowest {slowest:?}; {largest} bytes",
        start.elapsed()
    );
    ensure!(affirmed + busy > 0, "the costly requests: {costly}");
    ensure!(flood["sent"] == REQUESTS, "{flood}");
    ensure!(count(&flood, "400") > 0, "no garbage was answered: {flood}");
    ensure!(count(&flood, "429") > 0, "never busy: {flood}");
    ensure!(
        flood["stalled_ended"] != 0,
        "stalled connections stay: {flood}"
    );
    ensure!(attested >= ATTESTATIONS, "{attested} attestations only");
    ensure!(slowest < SLOWEST, "an attestation took {slowest:?}");
    ensure!(largest < MEMORY, "{largest} bytes are held");
    let minutes = u32::try_from(start.elapsed().as_secs() / 60 + 1)?;
    ensure!(paused <= PAUSES * minutes, "paused for {paused:?}");
    Ok(())
}

/// How long a guest stood still for snapshots so far, by the hypervisor's log.
fn paused(stack: &Stack, urn: &str) -> Result<Duration> {
    let log = std::fs::read_to_string(stack.host.hypervisor.log())?;
    let pause = |line: &str| -> Option<u64> {
        let (_, rest) = line.split_once("pause_us=")?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let of_guest = log.lines().filter(|line| line.contains(urn));
    let microseconds = of_guest.filter_map(pause).sum();
    Ok(Duration::from_micros(microseconds))
}

fn count(flood: &Value, status: &str) -> u64 {
    flood["answered"][status].as_u64().unwrap_or(0)
}

/// The larger of what devices and hypervisor hold.
fn memory(stack: &Stack) -> Result<u64> {
    let devices = Process::of(stack.host.devices.pid()?)?.own_memory()?;
    let hypervisor = Process::of(stack.host.hypervisor.pid()?)?.own_memory()?;
    Ok(devices.max(hypervisor))
}

fn state(guest: &mut Guest) -> Result<String> {
    guest
        .agent
        .must("cat /run/flood.err; tail -c 300 /run/attested")
        .context("the flooding guest")
}
