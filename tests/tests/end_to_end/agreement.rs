//! The same pages, asked for by guest-physical and by virtual addresses, have the same digests, and those are what
//! a program inside the guest computes.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::appraisal::verify_archived_report;
use bartizan_attestation::measurement::Report;
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::Case;
use crate::requests::Enrolled;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[(
    "agreement::physical_and_virtual_and_inside",
    physical_and_virtual,
)];

/// Pages that are asked for.
const PAGES: u64 = 5;

fn physical_and_virtual(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let (pid, first) = (nginx.pid, nginx.text.start / 4096);
    // Read first, which makes them present; then nothing moves text pages that are in use.
    let inside = |web: &mut Guest, program: &str| {
        let read = format!("dd if=/proc/{pid}/mem bs=4096 skip={first} count={PAGES} 2>/dev/null");
        let printed = web.agent.must(&format!("{read} | {program}"))?;
        let digest = printed.split(' ').next().context("a digest")?;
        Ok::<_, anyhow::Error>(digest.to_owned())
    };
    inside(web, "sha256sum")?;
    let virtually = format!(
        "--pid {pid} --region {:#x}+{:#x}",
        first * 4096,
        PAGES * 4096
    );
    let physically: Vec<_> = frames(web, pid, first)?
        .into_iter()
        .map(|frame| format!("--physical {:#x}+0x1000", frame * 4096))
        .collect();
    let physically = physically.join(" ");
    for (algorithm, program) in [
        ("sha-256", "sha256sum"),
        ("sha-384", "sha384sum"),
        ("sha-512", "sha512sum"),
    ] {
        let due = inside(web, program)?;
        for target in [&virtually, &physically] {
            let report = report(
                web,
                &format!("{target} --algorithm {algorithm} --kind flat"),
            )?;
            ensure!(
                report.digest.to_string() == due,
                "{algorithm} {target}: {} rather than {due}",
                report.digest
            );
        }
    }
    // Trees and SHA-3, which Debian's coreutils do not compute: by either address the same, and page by page.
    for algorithm in ["sha-256", "sha3-256", "sha3-384", "sha3-512"] {
        let arguments = format!("--algorithm {algorithm} --kind tree");
        let one = report(web, &format!("{virtually} {arguments}"))?;
        let other = report(web, &format!("{physically} {arguments}"))?;
        ensure!(one.digest == other.digest, "{algorithm}");
        ensure!(page_digests(&one) == page_digests(&other), "{algorithm}");
        ensure!(!page_digests(&one).is_empty(), "{algorithm}");
    }
    Ok(())
}

/// The page frames behind a process's pages (`Documentation/admin-guide/mm/pagemap.rst`).
fn frames(guest: &mut Guest, pid: u32, first: u64) -> Result<Vec<u64>> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    let entries = guest.agent.must(&format!(
        "dd if=/proc/{pid}/pagemap bs=8 skip={first} count={PAGES} 2>/dev/null | od -An -v -tx8"
    ))?;
    let frames = entries.split_ascii_whitespace().map(|entry| {
        let entry = u64::from_str_radix(entry, 16)?;
        ensure!(entry & PRESENT != 0, "a page is not present");
        Ok(entry & FRAME)
    });
    frames.collect()
}

/// The report on a target, verified with nothing but the fleet CA.
fn report(guest: &mut Guest, arguments: &str) -> Result<Report> {
    let file = "/run/agreement.report";
    guest.attest(&format!("--application nginx --report {file} {arguments}"))?;
    let report = guest
        .agent
        .must(&format!("base64 -w0 {file} && rm {file}"))?;
    let report = BASE64_STANDARD.decode(report)?;
    let ca = Enrolled::of(guest)?.fleet_ca;
    Ok(verify_archived_report(&report, &[], &ca)?.report().clone())
}

fn page_digests(report: &Report) -> Vec<u8> {
    let regions = report.regions.iter();
    regions
        .filter_map(|region| region.page_digests.as_deref())
        .flatten()
        .copied()
        .collect()
}
