//! The kernel's own page of code in every process, written to by root in the guest.

use anyhow::{Context, Result, ensure};
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use serde_json::Value;

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[("vdso::written_to_is_not_affirmed", written_to)];

/// Padding of the ELF header (`e_ident[EI_PAD]`, elf(5)), which nothing executes or reads: the worker lives on.
const PADDING: u64 = 12;

/// One byte of a worker's `[vdso]`: what was the kernel's page is then a page of the process's own, executable and
/// no file's. A worker is taken since it can be replaced; its vdso can not be mended.
fn written_to(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let worker = nginx.worker(web)?;
    affirmed(web, worker)?;
    let vdso = vdso(web, worker)?;
    let at = vdso + PADDING;
    web.agent.must(&format!(
        "printf '\\314' | dd of=/proc/{worker}/mem bs=1 seek={at} conv=notrunc 2>/dev/null"
    ))?;
    let answer = attest(web, worker);
    let replaced = replace(web, &nginx, worker);
    let (code, answer) = answer?;
    ensure!(
        code == Some(1) && answer["status"] == "contraindicated",
        "{code:?}: {answer}"
    );
    let mut findings = answer["findings"].as_array().into_iter().flatten();
    let named = |found: &Value| {
        found["kind"] == "anonymous-executable" && found["address"] == format!("{vdso:#x}")
    };
    ensure!(findings.any(named), "{vdso:#x} is not named: {answer}");
    affirmed(web, replaced?)
}

/// Ends the worker; the master starts another.
fn replace(guest: &mut Guest, nginx: &Nginx, worker: u32) -> Result<u32> {
    let master = nginx.pid;
    let started = guest.agent.must(&format!(
        "kill -9 {worker}
         for i in $(seq 600); do
             now=$(cat /proc/{master}/task/{master}/children)
             [ -n \"$now\" ] && [ \"$now\" != '{worker} ' ] && break
             sleep 0.1
         done
         echo $now"
    ))?;
    let started: u32 = started.trim().parse().context("one worker")?;
    ensure!(started != worker, "the master started no worker");
    Ok(started)
}

fn affirmed(guest: &mut Guest, pid: u32) -> Result<()> {
    let (code, answer) = attest(guest, pid)?;
    ensure!(code == Some(0), "{code:?}: {answer}");
    Ok(())
}

fn attest(guest: &mut Guest, pid: u32) -> Result<(Option<i32>, Value)> {
    guest.attest(&format!("--application nginx --pid {pid}"))
}

fn vdso(guest: &mut Guest, pid: u32) -> Result<u64> {
    let line = guest.agent.must(&format!("grep vdso /proc/{pid}/maps"))?;
    let start = line.split('-').next().context("an address")?;
    Ok(u64::from_str_radix(start, 16)?)
}
