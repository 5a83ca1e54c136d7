//! Regions that cannot be measured.

use anyhow::Result;

use super::refused;
use crate::Case;
use crate::requests::{physical, virtual_regions};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::physical_regions", physical_regions),
    ("refusals::virtual_regions", virtual_ones),
    ("refusals::too_many_regions", too_many),
];

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Regions, as address and size, and the problem that each list is.
type Refused = (&'static [(u64, u64)], &'static str);

/// What is wrong with regions wherever they lie.
const MISSHAPEN: &[Refused] = &[
    (&[], "empty-region"),
    (&[(0x10_0000, 0)], "empty-region"),
    (&[(0x10_0000, PAGE), (0x20_0000, 0)], "empty-region"),
    (&[(0x10_0001, PAGE)], "unaligned-region"),
    (&[(0x10_0000, PAGE + 1)], "unaligned-region"),
    (&[(0x10_0000, 1)], "unaligned-region"),
    (
        &[(0x10_0000, PAGE), (0x10_0000, PAGE)],
        "overlapping-regions",
    ),
    (
        &[(0x20_0000, PAGE), (0x10_0000, MIB + PAGE)],
        "overlapping-regions",
    ),
    (&[(u64::MAX - 0xfff, 2 * PAGE)], "wrapping-region"),
    (&[(PAGE, u64::MAX - 0xfff)], "wrapping-region"),
    (&[(0x10_0000, 513 * MIB)], "over-budget"),
    (
        &[(0x10_0000, 300 * MIB), (0x1_0000_0000, 300 * MIB)],
        "over-budget",
    ),
    (&[(0, 1 << 62)], "over-budget"),
];

/// A guest of 768 MiB: what is not its RAM.
const NOT_RAM: &[Refused] = &[
    // Beyond its end, and across it.
    (&[(768 * MIB, PAGE)], "not-ram"),
    (&[(767 * MIB, 2 * MIB)], "not-ram"),
    // In the PCI hole: its begin, the local APIC, the firmware's ROM.
    (&[(0xc000_0000, PAGE)], "not-ram"),
    (&[(0xfee0_0000, PAGE)], "not-ram"),
    (&[(0xffff_f000, PAGE)], "not-ram"),
    // Above it, where this guest has nothing, and beyond any processor's reach.
    (&[(0x1_0000_0000, PAGE)], "not-ram"),
    (&[(1 << 62, PAGE)], "not-ram"),
    // One page of many.
    (&[(0x10_0000, PAGE), (0xfee0_0000, PAGE)], "not-ram"),
];

fn physical_regions(world: &mut World) -> Result<()> {
    for (regions, problem) in MISSHAPEN.iter().chain(NOT_RAM) {
        refused(world, physical(regions), problem)?;
    }
    Ok(())
}

fn virtual_ones(world: &mut World) -> Result<()> {
    for (regions, problem) in MISSHAPEN {
        refused(world, virtual_regions(1, regions), problem)?;
    }
    Ok(())
}

fn too_many(world: &mut World) -> Result<()> {
    let regions: Vec<_> = (1..=257).map(|page| (page * 2 * PAGE, PAGE)).collect();
    refused(world, physical(&regions), "malformed")
}
