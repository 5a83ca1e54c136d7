//! What two real guests move between one another by TCP, against the same two on TAP devices, a bridge of Linux and nftables.
//!
//! ```text
//!   client ── vhost-user ── devices ── vhost-user ── server      each flow decided by the enclave
//!   client ── tap ── bridge ── nftables ── tap ── server         the same rules, by connection tracking
//! ```

mod bridged;
mod terminal;

use std::time::Duration;

use anyhow::{Context, Result};
use bartizan_measuring::{Better, Outcome, Samples, rounds};
use bartizan_tests::network::servers::servers_only;
use bartizan_tests::network::{CLIENT, CLIENT_6, WEB, WEB_6};
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec, Stack};
use bridged::Bridged;
use serde_json::Value;

const SUITE: &str = "network";
const NAME: &str = "tcp_guest_guest";
const WARM_UP: usize = 1;
const ROUNDS: usize = 9;
/// One connection, for so many seconds, after one that does not count.
const SECONDS: u32 = 4;
const MIB: f64 = 1_048_576.0;

/// Runs the case, if its name begins so.
pub(crate) fn run(wanted: &str) -> Result<Vec<Outcome>> {
    if !NAME.starts_with(wanted) {
        return Ok(Vec::new());
    }
    let stack = Stack::start()?;
    eprintln!("\u{25b8} boot two guests");
    let boot = |name, role, addresses| {
        let mut spec = GuestSpec::small(name).in_network(role, addresses);
        spec.cpus = 1;
        stack.host.boot(&spec)
    };
    let mut web = boot("web", "web", (WEB, WEB_6))?;
    let mut client = boot("client", "client", (CLIENT, CLIENT_6))?;
    stack.apply(1, &servers_only(&[]))?;
    let served = "iperf3 -s -D -I /run/iperf3.pid";
    web.agent.must(served)?;
    eprintln!("\u{25b8} boot two of the same on a bridge");
    let mut bridged = Bridged::beside(&stack, qemu(&stack, &web)?)?;
    bridged.web.must(served)?;
    let outcome = measure(&mut client, &mut bridged)?;
    bridged.check()?;
    Ok(vec![outcome])
}

/// The QEMU of a guest.
fn qemu(stack: &Stack, guest: &Guest) -> Result<Process> {
    let shown = stack.operator.must(&["vm", "show", &guest.name])?;
    Process::of_json(&shown["qemu_pid"])
}

fn measure(client: &mut Guest, bridged: &mut Bridged) -> Result<Outcome> {
    let sends = format!("iperf3 -c {WEB} -O 1 -t {SECONDS} -J");
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    rounds(NAME, WARM_UP, ROUNDS, |counts| {
        let value = per_mib(&client.agent.must(&sends)?)?;
        let reference = per_mib(&bridged.client.must(&sends)?)?;
        if counts {
            ours.add(value);
            theirs.add(reference);
        }
        Ok(())
    })?;
    let [value, reference_value] = [&ours, &theirs].map(|samples| 1.0 / samples.median());
    Ok(Outcome {
        suite: SUITE,
        case: NAME,
        value,
        unit: "MiB/s",
        reference: "two of the same guests on TAP devices, a bridge of Linux and nftables with the same rules",
        reference_value,
        ratio: value / reference_value,
        better: Better::Higher,
        goal: 1.2,
        rounds: ROUNDS,
        spread: ours.spread(),
        parts: Vec::new(),
    })
}

/// How long a MiB took, as the receiver has it.
fn per_mib(printed: &str) -> Result<Duration> {
    let shown: Value = serde_json::from_str(printed)
        .with_context(|| format!("iperf3 printed no JSON: {printed}"))?;
    let rate = shown["end"]["sum_received"]["bits_per_second"].as_f64();
    let rate = rate.filter(|rate| *rate > 0.0);
    let rate = rate.with_context(|| format!("iperf3 moved nothing: {}", shown["error"]))?;
    Ok(Duration::from_secs_f64(MIB * 8.0 / rate))
}
