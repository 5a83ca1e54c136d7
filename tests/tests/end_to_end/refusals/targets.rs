//! Processes and pages that are not there.

use anyhow::{Result, ensure};
use bartizan_attestation::measurement::Target;

use super::refused;
use crate::Case;
use crate::decoy::Decoy;
use crate::requests::{Enrolled, attest, nonce, request, virtual_regions};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::unknown_pid", unknown_pid),
    ("refusals::kernel_thread", kernel_thread),
    ("refusals::unmapped_page", unmapped),
    ("refusals::page_that_is_not_resident", not_resident),
];

const PAGE: u64 = 4096;
/// `kthreadd`, in every Linux.
const KERNEL_THREAD: u32 = 2;
/// Above any pid (`PID_MAX_LIMIT`, `include/linux/threads.h`).
const NO_PROCESS: u32 = 1 << 22;

fn unknown_pid(world: &mut World) -> Result<()> {
    for pid in [NO_PROCESS, u32::MAX] {
        refused(world, Target::Profile { pid }, "unknown-process")?;
        let page = virtual_regions(pid, &[(0x10_0000, PAGE)]);
        refused(world, page, "unknown-process")?;
    }
    Ok(())
}

fn kernel_thread(world: &mut World) -> Result<()> {
    let pid = KERNEL_THREAD;
    refused(world, Target::Profile { pid }, "no-address-space")?;
    let page = virtual_regions(pid, &[(0x10_0000, PAGE)]);
    refused(world, page, "no-address-space")
}

fn unmapped(world: &mut World) -> Result<()> {
    // Below `vm.mmap_min_addr`; in the gap between the halves of the address space; the kernel's half.
    for address in [0x1000, 1 << 60, 0xffff_ffff_8000_0000] {
        refused(world, virtual_regions(1, &[(address, PAGE)]), "unmapped")?;
    }
    Ok(())
}

/// A page of a mapped file that nobody has touched: mapped, but not in the process's memory. It is named.
fn not_resident(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let decoy = Decoy::start(web, "/usr/sbin/nginx", 0, 2 * PAGE)?;
    let enrolled = Enrolled::of(web)?;
    let pages = virtual_regions(decoy.pid, &[(decoy.address, 2 * PAGE)]);
    let asked = request("nginx", nonce(web)?, pages)?;
    let answer = attest(web, &enrolled.sign(&asked)?)?;
    decoy.stop(web)?;
    answer.must_refuse("not-resident")?;
    let named = answer.body["addresses"].as_array();
    let named: Vec<_> = named.into_iter().flatten().map(|at| at.as_u64()).collect();
    let due = [Some(decoy.address), Some(decoy.address + PAGE)];
    ensure!(named == due, "{answer:?}");
    Ok(())
}
