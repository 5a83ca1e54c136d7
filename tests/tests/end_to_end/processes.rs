//! The process table of ARCHITECTURE.md against /proc and cargo's metadata: it says what is, or the test fails. Users and
//! limits of guests' processes likewise.

mod code;
mod enclave;
mod links;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::host::{CardRequest, SupervisorRequest};
use bartizan_local::encode;
use bartizan_tests::accounts::{Account, of_guests};
use bartizan_tests::control_groups::{self, CONTROLLERS, Group};
use bartizan_tests::layout::Layout;
use bartizan_tests::process::{Process, program_name};

use crate::Case;
use crate::world::World;
use table::Row;

pub(crate) const CASES: &[Case] = &[
    ("processes::table_says_what_is", table_says_what_is),
    (
        "processes::all_that_a_host_executes_was_measured",
        code::is_measured,
    ),
    (
        "processes::the_enclaves_ram_is_its_own",
        enclave::ram_is_its_own,
    ),
    (
        "processes::guests_have_users_of_their_own",
        guests_have_users_of_their_own,
    ),
    (
        "processes::supervisors_user_is_answered_by_nobody",
        supervisors_user_is_answered_by_nobody,
    ),
    (
        "processes::guests_are_held_to_their_records_limits",
        guests_are_held_to_their_records_limits,
    ),
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The capabilities that a process of the stack may have, by number (linux/capability.h).
const CAPABILITIES: &[(u32, &str)] = &[
    (0, "chown"),
    (1, "dac_override"),
    (5, "kill"),
    (6, "setgid"),
    (7, "setuid"),
    (8, "setpcap"),
];

fn table_says_what_is(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    // Every link between the processes is used once.
    let (code, answer) = web.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
    ensure!(code == Some(0), "{answer}");
    let shown = stack.operator.must(&["vm", "show", "web"])?;
    let qemu = Process::of_json(&shown["qemu_pid"])?;
    let supervisor = qemu.parent()?;
    let ram = supervisor.inode_of("/memfd:bartizan-ram")?;
    let ram = ram.context("the supervisor holds the guest's RAM")?;
    let keeper = Process::of(stack.host.keeper().pid()?)?;
    let processes = [
        ("launcher", stack.host.launcher.process()?),
        ("vault of the host", Process::of(stack.host.vault.pid()?)?),
        (
            "vault of the verifier",
            Process::of(stack.verifier_vault.pid()?)?,
        ),
        ("card", Process::of(stack.host.card.pid()?)?),
        ("devices", Process::of(stack.host.devices.pid()?)?),
        ("hypervisor", Process::of(stack.host.hypervisor.pid()?)?),
        ("supervisor", supervisor),
        ("QEMU", qemu),
        ("measurer", Process::of_json(&shown["measurer_pid"])?),
        ("keeper", keeper),
        ("QEMU of the enclave", stack.host.enclave()?),
        ("verifier", Process::of(stack.verifier.pid()?)?),
    ];
    let links = links::by_program()?;
    let is = processes
        .iter()
        .map(|(name, process)| row(name, *process, ram, &links))
        .collect::<Result<Vec<_>>>()?;
    let told = table::read()?;
    let wrong: Vec<_> = told
        .iter()
        .filter(|row| !is.contains(row))
        .map(|row| format!("told: {row:?}"))
        .chain(
            is.iter()
                .filter(|row| !told.contains(row))
                .map(|row| format!("is:   {row:?}")),
        )
        .collect();
    if !wrong.is_empty() {
        bail!(
            "ARCHITECTURE.md does not say what is:\n{}",
            wrong.join("\n")
        );
    }
    all_are_known(&stack.layout.path("bin"), &told)
}

/// Neither QEMU nor measurer of a guest runs as any other guest's, and a guest's user reaches no other's processes.
fn guests_have_users_of_their_own(world: &mut World) -> Result<()> {
    let (stack, ..) = world.two()?;
    let [qemus, measurers] = of_guests()?;
    let mut users = BTreeSet::new();
    let mut qemu_of = BTreeMap::new();
    for guest in ["web", "other"] {
        let shown = stack.operator.must(&["vm", "show", guest])?;
        let qemu = Process::of_json(&shown["qemu_pid"])?;
        let measurer = Process::of_json(&shown["measurer_pid"])?;
        for (process, range) in [(qemu, &qemus), (measurer, &measurers)] {
            let user = process.status("Uid")?.parse()?;
            ensure!(range.contains(&user), "{user} is not in {range:?}");
            ensure!(users.insert(user), "{user} is another process's too");
        }
        qemu_of.insert(guest, qemu);
    }
    let (own, other) = (qemu_of["web"], qemu_of["other"]);
    for reach in ["kill -0 PID", "ls /proc/PID/fd/", "cat /proc/PID/maps"] {
        let as_web = |process: Process| {
            let script = reach.replace("PID", &process.pid().to_string());
            let mut shell = Command::new("setpriv");
            shell.arg(format!("--reuid={}", own.status("Uid")?));
            shell.arg(format!("--regid={}", own.status("Gid")?));
            shell.args(["--clear-groups", "sh", "-c", &script]);
            anyhow::Ok(shell.output()?.status.success())
        };
        ensure!(as_web(own)?, "`{reach}` fails for one's own process too");
        ensure!(!as_web(other)?, "`{reach}` reaches another guest's QEMU");
    }
    Ok(())
}

/// All supervisors have one user: what one of them that was taken over can connect to does not answer it.
fn supervisors_user_is_answered_by_nobody(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let users = stack.users;
    let sockets = [
        (
            "run/card/card.sock".to_owned(),
            encode(&CardRequest::Describe),
        ),
        (
            format!("run/hypervisor/guests/{}/boot/ctl.sock", web.uuid),
            encode(&SupervisorRequest::Status),
        ),
    ];
    for (socket, question) in sockets {
        let socket = stack.layout.path(&socket);
        let answers = |account: Account| {
            let mut link = account.connect(&socket)?;
            link.set_read_timeout(Some(PATIENCE))?;
            let size = u32::try_from(question.len())?.to_be_bytes();
            // It may be closed by then.
            let _ = link.write_all(&[&size[..], &question].concat());
            anyhow::Ok(link.read(&mut [0]).is_ok_and(|size| size == 1))
        };
        let name = socket.display();
        ensure!(
            answers(users.hypervisor)?,
            "{name} does not answer the daemon"
        );
        ensure!(!answers(users.supervisor)?, "{name} answers supervisors");
    }
    Ok(())
}

/// A guest that takes its QEMU or its measurer over uses no more of the host than its record and the daemon's
/// configuration allow: all its processes are in one group, which has these limits.
fn guests_are_held_to_their_records_limits(world: &mut World) -> Result<()> {
    if let Some(lack) = control_groups::lack()? {
        eprintln!("limits are not looked at: {lack}");
        return Ok(());
    }
    let (stack, _) = world.web()?;
    let shown = stack.operator.must(&["vm", "show", "web"])?;
    let qemu = Process::of_json(&shown["qemu_pid"])?;
    let measurer = Process::of_json(&shown["measurer_pid"])?;
    let daemon = Process::of(stack.host.hypervisor.pid()?)?;
    let group = |process, controller| {
        let group = Group::of(process, controller)?;
        group.with_context(|| format!("no group for {controller}"))
    };
    for controller in CONTROLLERS {
        let of_qemu = group(qemu, controller)?;
        for process in [measurer, qemu.parent()?] {
            let its = group(process, controller)?;
            ensure!(its == of_qemu, "{its:?} is not QEMU's {of_qemu:?}");
        }
        ensure!(of_qemu != group(daemon, controller)?, "it is the daemon's");
        for (file, due) in limits(controller, of_qemu.unified, memory(&stack.layout)?) {
            let is = of_qemu.read(file)?;
            ensure!(is == due, "{file} is {is}, not {due}");
        }
    }
    Ok(())
}

/// SPECIFICATION.md, "A guest's processes", of a record that says nothing of its budget and a daemon that was told nothing
/// of its limits.
fn memory(layout: &Layout) -> Result<u64> {
    const RAM_MIB: u64 = 768;
    const OVERHEAD_MIB: u64 = 1536;
    const REQUEST_MIB: u64 = 512;
    const MEASURER_MIB: u64 = 512;
    let images = layout.images()?;
    let size = |name| anyhow::Ok(fs::metadata(images.join(name))?.len());
    let images = size("vmlinuz")? + size("initrd.img")?;
    Ok(((RAM_MIB + OVERHEAD_MIB + REQUEST_MIB + MEASURER_MIB) << 20) + images)
}

/// Files of a group, and what they must say. The kernel counts memory in whole pages.
fn limits(controller: &str, unified: bool, memory: u64) -> Vec<(&'static str, String)> {
    let pages = memory & !4095;
    match (controller, unified) {
        ("memory", false) => vec![
            ("memory.limit_in_bytes", pages.to_string()),
            ("memory.swappiness", "0".into()),
        ],
        ("memory", true) => vec![
            ("memory.max", pages.to_string()),
            ("memory.swap.max", "0".into()),
        ],
        ("pids", _) => vec![("pids.max", "256".into())],
        (_, false) => vec![("cpu.shares", "1024".into())],
        (_, true) => vec![("cpu.weight", "100".into())],
    }
}

/// What is, in the table's words.
fn row(name: &str, process: Process, ram: u64, links: &links::Links) -> Result<Row> {
    let program = process.program()?;
    let mapped = process.mapped(ram)?;
    Ok(Row {
        process: name.into(),
        user: user(&process.status("Uid")?)?,
        descriptors: process.descriptors()?,
        guest_ram: match mapped.iter().collect::<String>().as_str() {
            "" => "no".into(),
            "r" => "ro".into(),
            other => other.to_owned(),
        },
        // seccomp(2): SECCOMP_MODE_FILTER
        seccomp: match process.status("Seccomp")?.as_str() {
            "0" => "none".into(),
            "2" => "filter".into(),
            other => other.to_owned(),
        },
        no_new_privs: process.status("NoNewPrivs")? == "1",
        capabilities: capabilities(&process.status("CapPrm")?)?,
        links: links.get(&program).cloned().unwrap_or_default(),
        program,
    })
}

/// Every process that runs a program of this stack is a row's.
fn all_are_known(programs: &std::path::Path, told: &[Row]) -> Result<()> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(program) = fs::read_link(entry.path().join("exe")) else {
            continue;
        };
        let name = program_name(&program);
        let known = |name: &str| told.iter().any(|row| row.program == name);
        ensure!(
            !(program.starts_with(programs) || program.starts_with("/memfd:measured"))
                || name.is_some_and(known),
            "the table has no {}",
            program.display()
        );
    }
    Ok(())
}

fn user(uid: &str) -> Result<String> {
    let number = uid.parse()?;
    if of_guests()?.iter().any(|users| users.contains(&number)) {
        return Ok("one a guest".into());
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(uid))
        .with_context(|| format!("nobody has the user id {uid}"))?;
    Ok(line.split(':').next().unwrap_or_default().to_owned())
}

/// The names of a set of capabilities, as /proc/PID/status has it.
fn capabilities(set: &str) -> Result<BTreeSet<String>> {
    let set = u64::from_str_radix(set, 16)?;
    (0..u64::BITS)
        .filter(|number| set & (1 << number) != 0)
        .map(|number| {
            let named = CAPABILITIES.iter().find(|(of, _)| *of == number);
            let (_, name) = named.with_context(|| format!("capability {number}"))?;
            Ok((*name).to_owned())
        })
        .collect()
}
