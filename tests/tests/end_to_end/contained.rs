//! A host whose release has another image in the enclave's place, which does what it likes: it is held to its limits, reaches nothing, and
//! disturbs no guest. Each on a host of its own.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_tests::control_groups::{self, Group};
use bartizan_tests::network::SOON;
use bartizan_tests::process::Process;
use bartizan_tests::stack::{GuestSpec, Host, Rogue};

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    (
        "contained::who_burns_takes_and_forks_in_the_enclaves_place_disturbs_no_guest",
        burns,
    ),
    (
        "contained::who_says_nothing_in_the_enclaves_place_is_started_anew",
        says_nothing,
    ),
];

/// The machine's RAM in bytes, and what its QEMU may use beyond (SPECIFICATION.md, "The enclave's machine").
const RAM: u64 = (Rogue::RAM_MIB as u64) << 20;
const MEMORY: u64 = RAM + (192 << 20);
const THREADS: u64 = 64;
/// A quota is used up in periods of this length, and each CPU takes some of it in advance.
const PERIOD: Duration = Duration::from_millis(250);

/// What its QEMU has beyond the standard three, by ARCHITECTURE.md, and how many sockets: of its console and its three links.
const DESCRIPTORS: [&str; 6] = [
    "eventfd",
    "eventpoll",
    "memfd bartizan-enclave",
    "memfd measured",
    "signalfd",
    "unix",
];
const SOCKETS: usize = 4;
/// The devices that it has.
const DEVICES: [&str; 4] = [
    "virtio-serial-pci",
    "virtserialport",
    "virtserialport",
    "virtserialport",
];

fn burns(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let host = stack.host_with_rogue_enclave("r1", Rogue::Burn)?;
    let qemu = host.enclave()?;
    reaches_nothing(qemu)?;
    let before = Instant::now();
    let used = qemu.cpu_time()?;
    // It boots, enrols, and is granted beside one that burns.
    let mut guest = host.boot(&GuestSpec::small("beside"))?;
    says(&host, "rogue: interfaces [lo], disks []")?;
    says(&host, "rogue: burns 1 processors")?;
    for said in ["each of which begins others", "there is no memory left"] {
        let began = Instant::now();
        while says(&host, said).is_err() {
            ensure!(began.elapsed() < SOON, "it never said `{said}`");
            ensure!(guest.agent.run("true")?.code == Some(0), "the guest");
        }
    }
    let (code, answer) = guest.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
    ensure!(code == Some(0), "{answer}");
    let used = qemu.cpu_time()?.saturating_sub(used);
    let took = before.elapsed();
    ensure!(host.enclave()? == qemu, "another machine was started");
    ensure!(qemu.children()?.is_empty(), "QEMU has begun a process");
    reaches_nothing(qemu)?;
    match control_groups::lack()? {
        Some(lack) => eprintln!("limits are not looked at: {lack}"),
        None => {
            let may = took * Rogue::CPU_PERCENT / 100 + PERIOD;
            ensure!(used <= may, "{used:?} of CPU time in {took:?}");
            is_held(qemu)?;
        }
    }
    drop(guest);
    Ok(())
}

/// The kernel's own account of it.
fn is_held(qemu: Process) -> Result<()> {
    let group = |controller| {
        let group = Group::of(qemu, controller)?;
        group.with_context(|| format!("no group for {controller}"))
    };
    let (cpu, memory, pids) = (group("cpu")?, group("memory")?, group("pids")?);
    let throttled = cpu.counted("cpu.stat", "nr_throttled")?;
    ensure!(throttled > 0, "it was never throttled");
    let [most, used] = match memory.unified {
        true => ["memory.max", "memory.current"],
        false => ["memory.limit_in_bytes", "memory.usage_in_bytes"],
    };
    ensure!(memory.number(most)? == MEMORY, "another limit than is told");
    let used = memory.number(used)?;
    ensure!((RAM..=MEMORY).contains(&used), "{used} bytes");
    ensure!(pids.number("pids.max")? == THREADS, "another limit");
    let threads = pids.number("pids.current")?;
    ensure!((1..=THREADS).contains(&threads), "{threads} threads");
    eprintln!("held: throttled {throttled} times, {used} bytes, {threads} threads");
    Ok(())
}

/// No network, no disk, no monitor, and nothing open but what its links are.
fn reaches_nothing(qemu: Process) -> Result<()> {
    let arguments = qemu.arguments()?;
    let devices = (arguments.windows(2)).filter(|pair| pair[0] == "-device");
    let kinds: Vec<_> = devices
        .filter_map(|pair| pair[1].split(',').next().map(str::to_owned))
        .collect();
    ensure!(kinds == DEVICES, "{kinds:?}");
    for absent in [
        "-netdev",
        "-nic",
        "-net",
        "-drive",
        "-blockdev",
        "-qmp",
        "-mon",
    ] {
        ensure!(
            !arguments.iter().any(|one| one == absent),
            "it has {absent}"
        );
    }
    let due: BTreeSet<_> = DESCRIPTORS.map(str::to_owned).into();
    let has = qemu.descriptors()?;
    ensure!(has == due, "{has:?}, not {due:?}");
    let sockets = qemu.sockets()?;
    ensure!(sockets == SOCKETS, "{sockets} sockets");
    Ok(())
}

/// Its console, as the keeper logs it, has such a line.
fn says(host: &Host, what: &str) -> Result<()> {
    let log = fs::read_to_string(host.keeper().log())?;
    ensure!(log.contains(what), "its console has no `{what}`");
    Ok(())
}

/// Known attack: it is there, opens its links as it should, and lets whoever asks wait for ever.
fn says_nothing(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let host = stack.host_with_rogue_enclave("r2", Rogue::Silent)?;
    // It may have been noticed once before the host was enrolled.
    let qemu = present(&host)?;
    qemu.end()?
        .wait(SOON)
        .context("its keeper has not noticed")?;
    // One that has ended is its keeper's child until that one has looked at how.
    let began = Instant::now();
    while present(&host)? == qemu {
        ensure!(began.elapsed() < SOON, "the same machine");
    }
    says(&host, "rogue: says nothing")
}

/// The machine in the enclave's place, once there is one. The host is there for its operator meanwhile.
fn present(host: &Host) -> Result<Process> {
    let began = Instant::now();
    loop {
        match host.enclave() {
            Err(_) if began.elapsed() < SOON => host.operator.must(&["vm", "list"])?,
            found => return found,
        };
    }
}
