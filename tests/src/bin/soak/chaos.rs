//! kill -9, in random turn.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use bartizan_tests::process::Process;
use bartizan_tests::stack::Stack;

use crate::random::Random;

/// How long a killed daemon stays away at most.
const AWAY: Duration = Duration::from_millis(1500);
/// How long a measurer's end may take.
const END: Duration = Duration::from_secs(10);

/// Whom it may hit.
const VICTIMS: [&str; 7] = [
    "card",
    "devices",
    "hypervisor",
    "measurer",
    "vault of the host",
    "vault of the verifier",
    "verifier",
];

/// Kills one process and, unless its supervisor does, starts it again. Returns whom it hit.
pub(crate) fn strike(
    stack: &mut Stack,
    guests: &[&str],
    random: &mut Random,
) -> Result<&'static str> {
    let victim = *random.one_of(&VICTIMS);
    let guest = *random.one_of(guests);
    let away = random.time(Duration::ZERO, AWAY);
    let daemon = match victim {
        "card" => &mut stack.host.card,
        "devices" => &mut stack.host.devices,
        "hypervisor" => &mut stack.host.hypervisor,
        "vault of the host" => &mut stack.host.vault,
        "vault of the verifier" => &mut stack.verifier_vault,
        "verifier" => &mut stack.verifier,
        _ => {
            let shown = stack.operator.must(&["vm", "show", guest])?;
            // None is there for a moment after the last one was hit.
            if let Ok(measurer) = Process::of_json(&shown["measurer_pid"]) {
                let end = measurer.end()?;
                measurer.kill()?;
                end.wait(END)?;
            }
            return Ok(victim);
        }
    };
    daemon.kill()?;
    // No synchronisation: how long it is away is part of what is drawn.
    thread::sleep(away);
    daemon.start_again()?;
    Ok(victim)
}
