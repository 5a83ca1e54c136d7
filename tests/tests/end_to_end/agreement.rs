//! The same pages, asked for by guest-physical and by virtual addresses, have the same digests, and those are what
//! a program inside the guest computes.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::appraisal::verify_archived_report;
use bartizan_attestation::digest::{hash, tree_root};
use bartizan_attestation::measurement::{HashAlgorithm, Report, SignedReport};
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::Case;
use crate::nginx::Nginx;
use crate::requests::Enrolled;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    (
        "agreement::physical_and_virtual_and_inside",
        physical_and_virtual,
    ),
    ("agreement::page_digests_are_apart", page_digests),
];

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
    // Trees and SHA-3, which Debian's coreutils do not compute: over the bytes as the guest reads them.
    let read = format!("dd if=/proc/{pid}/mem bs=4096 skip={first} count={PAGES} 2>/dev/null");
    let bytes = web.agent.must(&format!("{read} | base64 -w0"))?;
    let bytes = BASE64_STANDARD.decode(bytes)?;
    for algorithm in HashAlgorithm::ALL {
        let pages: Vec<u8> = (bytes.chunks(4096))
            .flat_map(|page| hash(algorithm, page).0)
            .collect();
        for (kind, due) in [
            ("flat", hash(algorithm, &bytes)),
            ("tree", tree_root(algorithm, &pages)),
        ] {
            for target in [&virtually, &physically] {
                let arguments = format!("{target} --algorithm {algorithm} --kind {kind}");
                let report = report(web, &arguments)?;
                ensure!(report.digest == due, "{arguments}: {}", report.digest);
            }
        }
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
    let report = kept(guest, arguments)?;
    let ca = Enrolled::of(guest)?.fleet_ca;
    Ok(verify_archived_report(&report, &[], &ca)?.report().clone())
}

/// The report on a target and what came with it, as the guest's tool keeps them.
fn kept(guest: &mut Guest, arguments: &str) -> Result<SignedReport> {
    let (report, digests) = ("/run/agreement.report", "/run/agreement.pages");
    guest.agent.must(&format!("rm -f {report} {digests}"))?;
    guest.attest(&format!(
        "--application nginx --report {report} --page-digests {digests} {arguments}"
    ))?;
    let mut read = |file: &str| {
        let bytes = guest
            .agent
            .must(&format!("if [ -e {file} ]; then base64 -w0 {file}; fi"))?;
        Ok::<_, anyhow::Error>(BASE64_STANDARD.decode(bytes)?)
    };
    let page_digests = read(digests)?;
    Ok(SignedReport {
        message: read(report)?,
        page_digests: (!page_digests.is_empty()).then_some(page_digests),
    })
}

/// What is kept of a process's profile: a report that can be verified without its page digests, and with no others.
fn page_digests(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let ca = Enrolled::of(web)?.fleet_ca;
    for kind in ["flat", "tree"] {
        let whole = kept(web, &format!("--pid {} --kind {kind}", nginx.pid))?;
        let report = verify_archived_report(&whole, &[], &ca)?.report().clone();
        let pages: u64 = report.regions.iter().map(|it| it.region.pages()).sum();
        let digests = whole.page_digests.clone().context("no page digests came")?;
        ensure!(digests.len() as u64 == 32 * pages && pages > 100);

        let without = SignedReport::from(whole.message.clone());
        ensure!(*verify_archived_report(&without, &[], &ca)?.report() == report);
        let mut other = whole;
        if let Some(byte) = other.page_digests.as_mut().and_then(|it| it.last_mut()) {
            *byte ^= 1;
        }
        ensure!(verify_archived_report(&other, &[], &ca).is_err());
    }
    // What the guest chose itself has none.
    let chosen = kept(web, "--physical 0x1000+0x1000")?;
    ensure!(chosen.page_digests.is_none());
    Ok(())
}
