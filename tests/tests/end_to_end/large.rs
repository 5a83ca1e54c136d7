//! A guest with more RAM than fits below the PCI hole, 4-level page tables and huge pages: what lies above 4 GiB is
//! measured as well as what lies below, and what lies between is no RAM.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::{Guest, GuestSpec};

use crate::Case;
use crate::agreement::agree;
use crate::decoy::Decoy;
use crate::pages::Pages;
use crate::requests::{Enrolled, attest, nonce, physical, request};
use crate::world::World;

pub(crate) const CASES: &[Case] = &[("large::ram_above_the_pci_hole_and_huge_pages", large)];

const PAGE: u64 = 4096;
const GIB: u64 = 1 << 30;
/// The guest's RAM: q35 has 2 GiB of it below the hole and 3 above.
const RAM_MIB: u64 = 5 << 10;
/// Where the pages lie is all that is new here: each algorithm has its case in [`crate::agreement`].
const ALGORITHM: &[HashAlgorithm] = &[HashAlgorithm::Sha384];
/// 4 KiB pages of a huge one.
const HUGE: u64 = 512;

fn large(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let guest = &mut stack.host.boot(&GuestSpec {
        memory_mib: RAM_MIB,
        cpu_model: Some("max,la57=off".into()),
        ..GuestSpec::small("large")
    })?;
    edges_of_the_hole(guest)?;
    code_of_nginx(guest)?;
    huge_pages(guest, "reserved", "Private_Hugetlb")?;
    huge_pages(guest, "transparent", "AnonHugePages")?;
    stack.operator.must(&["vm", "stop", "--force", "large"])?;
    Ok(())
}

fn edges_of_the_hole(guest: &mut Guest) -> Result<()> {
    let enrolled = Enrolled::of(guest)?;
    for (address, size, is_ram) in [
        (2 * GIB - PAGE, PAGE, true),
        (2 * GIB, PAGE, false),
        (2 * GIB - PAGE, 2 * PAGE, false),
        (3 * GIB, PAGE, false),
        (0xfee0_0000, PAGE, false),
        (4 * GIB - PAGE, PAGE, false),
        (4 * GIB - PAGE, 2 * PAGE, false),
        (4 * GIB, PAGE, true),
        (7 * GIB - PAGE, PAGE, true),
        (7 * GIB, PAGE, false),
        (7 * GIB - PAGE, 2 * PAGE, false),
    ] {
        let asked = request("large", nonce(guest)?, physical(&[(address, size)]))?;
        let answer = attest(guest, &enrolled.sign(&asked)?)?;
        let as_due = if is_ram {
            answer.token().map(drop)
        } else {
            answer.must_refuse("not-ram")
        };
        as_due.with_context(|| format!("{address:#x}+{size:#x}"))?;
    }
    Ok(())
}

/// nginx is affirmed, and every page of its code lies above.
fn code_of_nginx(guest: &mut Guest) -> Result<()> {
    let nginx = Nginx::of(guest)?;
    let (code, answer) = guest.attest(&format!("--application nginx --pid {}", nginx.pid))?;
    ensure!(code == Some(0), "{code:?}: {answer}");
    let pages = Pages {
        pid: nginx.pid,
        first: nginx.text.start / PAGE,
        count: 16,
    };
    pages.inside(guest, "sha256sum")?;
    all_above(&pages.frames(guest)?)?;
    agree(guest, pages, ALGORITHM)
}

/// Two huge pages of a kind, whole, and a few pages about the seam between them.
fn huge_pages(guest: &mut Guest, kind: &str, counted_as: &str) -> Result<()> {
    let holder = Decoy::huge(guest, kind, 2)?;
    let pid = holder.pid;
    let counted = guest.agent.must(&format!(
        "awk '/^{counted_as}:/ {{ sum += $2 }} END {{ print sum }}' /proc/{pid}/smaps"
    ))?;
    ensure!(counted.trim() == "4096", "{counted} KiB of {kind} pages");
    let first = holder.address / PAGE;
    ensure!(first.is_multiple_of(HUGE), "not a huge page: {first:#x}");
    let pages = |from, count| Pages {
        pid,
        first: first + from,
        count,
    };
    all_above(&pages(0, 2 * HUGE).frames(guest)?)?;
    agree(guest, pages(0, 2 * HUGE), ALGORITHM)?;
    agree(guest, pages(HUGE - 3, 7), ALGORITHM)?;
    holder.stop(guest)
}

fn all_above(frames: &[u64]) -> Result<()> {
    let below = frames.iter().filter(|frame| **frame < 4 * GIB / PAGE);
    ensure!(below.count() == 0, "pages below 4 GiB: {frames:x?}");
    ensure!(!frames.is_empty(), "no pages");
    Ok(())
}
