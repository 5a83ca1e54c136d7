//! The same pages, asked for by guest-physical and by virtual addresses, have the same digests, and those are what
//! a program inside the guest computes.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::appraisal::verify_archived_report;
use bartizan_attestation::digest::{hash, tree_root};
use bartizan_attestation::measurement::{HashAlgorithm, Report, SignedReport};
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::Case;
use crate::pages::Pages;
use crate::requests::Enrolled;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    (
        "agreement::physical_and_virtual_and_inside",
        physical_and_virtual,
    ),
    ("agreement::page_digests_are_apart", page_digests),
];

/// What Debian's coreutils compute, and the program that does.
const PROGRAMS: [(HashAlgorithm, &str); 3] = [
    (HashAlgorithm::Sha256, "sha256sum"),
    (HashAlgorithm::Sha384, "sha384sum"),
    (HashAlgorithm::Sha512, "sha512sum"),
];
/// Pages that are asked for.
const PAGES: u64 = 5;

fn physical_and_virtual(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let shown = stack.operator.must(&["vm", "show", "web"])?;
    // What QEMU translates has five levels; a processor may have four.
    ensure!(
        shown["accelerator"] == "kvm" || levels(web)? == 5,
        "{shown}"
    );
    let nginx = Nginx::of(web)?;
    let pages = Pages {
        pid: nginx.pid,
        first: nginx.text.start / 4096,
        count: PAGES,
    };
    agree(web, pages, &HashAlgorithm::ALL)
}

/// Fails unless reports by virtual and by physical address agree with one another and with a program in the guest.
pub(crate) fn agree(guest: &mut Guest, pages: Pages, algorithms: &[HashAlgorithm]) -> Result<()> {
    // Made present first; then nothing moves pages that are in use.
    pages.inside(guest, "sha256sum")?;
    let virtually = pages.virtually();
    let physically = pages.physically(guest)?;
    let walked = [Some(levels(guest)?), None];
    for (algorithm, program) in PROGRAMS {
        if !algorithms.contains(&algorithm) {
            continue;
        }
        let due = pages.inside(guest, program)?;
        for (target, levels) in [&virtually, &physically].into_iter().zip(walked) {
            let report = report(
                guest,
                &format!("{target} --algorithm {algorithm} --kind flat"),
            )?;
            ensure!(
                report.digest.to_string() == due,
                "{algorithm} {target}: {} rather than {due}",
                report.digest
            );
            let found = report.translation.as_ref().map(|basis| basis.levels);
            ensure!(found == levels, "{found:?} levels were walked");
        }
    }
    // Trees, SHA-3 and BLAKE3, which no program there computes: over the bytes as the guest reads them.
    let bytes = pages.bytes(guest)?;
    for &algorithm in algorithms {
        let digests: Vec<u8> = (bytes.chunks(4096))
            .flat_map(|page| hash(algorithm, page).0)
            .collect();
        for (kind, due) in [
            ("flat", hash(algorithm, &bytes)),
            ("tree", tree_root(algorithm, &digests)),
        ] {
            for target in [&virtually, &physically] {
                let arguments = format!("{target} --algorithm {algorithm} --kind {kind}");
                let report = report(guest, &arguments)?;
                ensure!(report.digest == due, "{arguments}: {}", report.digest);
            }
        }
    }
    Ok(())
}

/// Levels of the guest's page tables: a kernel that does not use five hides the flag.
fn levels(guest: &mut Guest) -> Result<u8> {
    let five = guest.agent.run("grep -qw la57 /proc/cpuinfo")?;
    Ok(if five.code == Some(0) { 5 } else { 4 })
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
