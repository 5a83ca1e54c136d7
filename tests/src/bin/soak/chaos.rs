//! kill -9, in random turn.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use bartizan_tests::process::Process;
use bartizan_tests::stack::Stack;

use crate::random::Random;

/// How long a killed daemon stays away at most.
const AWAY: Duration = Duration::from_millis(1500);
/// How long an end may take.
const END: Duration = Duration::from_secs(10);

/// Whom it may hit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    Card,
    Devices,
    /// The enclave's QEMU.
    Enclave,
    Hypervisor,
    Keeper,
    Measurer,
    Vault,
    Verifier,
    VerifierVault,
}

impl Victim {
    /// Who has a part in a verdict.
    pub(crate) const OF_ATTESTATION: [Self; 7] = [
        Self::Card,
        Self::Devices,
        Self::Hypervisor,
        Self::Measurer,
        Self::Vault,
        Self::Verifier,
        Self::VerifierVault,
    ];
    /// Who has a part in a decision on a flow.
    pub(crate) const OF_FLOWS: [Self; 7] = [
        Self::Card,
        Self::Devices,
        Self::Enclave,
        Self::Hypervisor,
        Self::Keeper,
        Self::Vault,
        Self::Verifier,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Devices => "devices",
            Self::Enclave => "QEMU of the enclave",
            Self::Hypervisor => "hypervisor",
            Self::Keeper => "keeper",
            Self::Measurer => "measurer",
            Self::Vault => "vault of the host",
            Self::Verifier => "verifier",
            Self::VerifierVault => "vault of the verifier",
        }
    }
}

/// Kills one process and, unless its supervisor does, starts it again. Returns whom it hit.
pub(crate) fn strike(
    stack: &mut Stack,
    guests: &[&str],
    victims: &[Victim],
    random: &mut Random,
) -> Result<&'static str> {
    let victim = *random.one_of(victims);
    let guest = *random.one_of(guests);
    let away = random.time(Duration::ZERO, AWAY);
    let mut keeper = stack.host.keeper();
    let daemon = match victim {
        Victim::Card => &mut stack.host.card,
        Victim::Devices => &mut stack.host.devices,
        Victim::Hypervisor => &mut stack.host.hypervisor,
        Victim::Keeper => &mut keeper,
        Victim::Vault => &mut stack.host.vault,
        Victim::Verifier => &mut stack.verifier,
        Victim::VerifierVault => &mut stack.verifier_vault,
        Victim::Enclave => {
            // None is there for a moment after the last one was hit.
            if let Ok(machine) = stack.host.enclave() {
                end(machine)?;
            }
            return Ok(victim.name());
        }
        Victim::Measurer => {
            let shown = stack.operator.must(&["vm", "show", guest])?;
            // Likewise.
            if let Ok(measurer) = Process::of_json(&shown["measurer_pid"]) {
                end(measurer)?;
            }
            return Ok(victim.name());
        }
    };
    daemon.kill()?;
    // No synchronisation: how long it is away is part of what is drawn.
    thread::sleep(away);
    daemon.start_again()?;
    Ok(victim.name())
}

/// Kills what is started again by whoever keeps it.
fn end(process: Process) -> Result<()> {
    let end = process.end()?;
    process.kill()?;
    end.wait(END)
}
