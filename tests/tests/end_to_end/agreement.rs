//! The same pages, asked for by guest-physical and by virtual addresses, have the same digests, and those are what
//! a program inside the guest computes.

use anyhow::{Result, ensure};
use bartizan_attestation::appraisal::verify_archived_report;
use bartizan_attestation::measurement::Report;
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::Case;
use crate::pages::Pages;
use crate::requests::Enrolled;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[(
    "agreement::physical_and_virtual_and_inside",
    physical_and_virtual,
)];

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
    agree(web, pages)
}

/// Fails unless reports by virtual and by physical address agree with one another and with a program in the guest.
pub(crate) fn agree(guest: &mut Guest, pages: Pages) -> Result<()> {
    // Made present first; then nothing moves pages that are in use.
    pages.inside(guest, "sha256sum")?;
    let virtually = pages.virtually();
    let physically = pages.physically(guest)?;
    let walked = [Some(levels(guest)?), None];
    for (algorithm, program) in [
        ("sha-256", "sha256sum"),
        ("sha-384", "sha384sum"),
        ("sha-512", "sha512sum"),
    ] {
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
            let process = report.process.as_ref();
            let found = process.map(|process| process.translation.levels);
            ensure!(found == levels, "{found:?} levels were walked");
        }
    }
    // Trees and SHA-3, which Debian's coreutils do not compute: by either address the same, and page by page.
    for algorithm in ["sha-256", "sha3-256", "sha3-384", "sha3-512"] {
        let arguments = format!("--algorithm {algorithm} --kind tree");
        let one = report(guest, &format!("{virtually} {arguments}"))?;
        let other = report(guest, &format!("{physically} {arguments}"))?;
        ensure!(one.digest == other.digest, "{algorithm}");
        ensure!(page_digests(&one) == page_digests(&other), "{algorithm}");
        ensure!(!page_digests(&one).is_empty(), "{algorithm}");
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
