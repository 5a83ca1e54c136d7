use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::sparse::Sparse;
use crate::walk::{Levels, translate};

const LIMIT: usize = 4096;
const ALL: u64 = 0b111;
const USER: u64 = 0b100;
const LARGE: u64 = 1 << 7;
const NX: u64 = 1 << 63;

/// Tables at 0x1000 (the top), 0x2000, …, the last of which is of level 1 and translates addresses from 0 on.
fn tables(levels: Levels) -> (Sparse, Root) {
    let mut ram = Sparse::default();
    let top = u64::from(levels.count());
    for table in 1..top {
        ram.entry(table << 12, 0, ((table + 1) << 12) | ALL);
    }
    ram.entry(top << 12, 0, 0);
    let table = Gpa(0x1000);
    (ram, Root { table, levels })
}

fn executable(ram: &Sparse, root: Root) -> Result<Vec<Range<u64>>, TablesError> {
    let mut seen = Vec::new();
    let flow = each_executable(ram, root, &mut TableBudget::new(LIMIT), |page| {
        seen.push(page);
        ControlFlow::<()>::Continue(())
    })?;
    assert!(flow.is_continue());
    Ok(seen)
}

#[test]
fn pages_of_every_size_are_seen_in_order() {
    for levels in [Levels::Four, Levels::Five] {
        let (mut ram, root) = tables(levels);
        let level = |level: u64| (u64::from(levels.count()) - level + 1) << 12;
        ram.entry(level(1), 511, 0x9000 | ALL);
        ram.entry(level(1), 7, 0x8000 | ALL);
        ram.entry(level(2), 3, 0x20_0000 | ALL | LARGE);
        ram.entry(level(3), 2, 0x4000_0000 | ALL | LARGE);
        let seen = executable(&ram, root).unwrap();
        let expected = [
            0x7000..0x8000,
            0x1f_f000..0x20_0000,
            0x60_0000..0x80_0000,
            0x8000_0000..0xc000_0000,
        ];
        assert_eq!(seen, expected);
    }
}

#[test]
fn what_user_mode_cannot_execute_is_not_seen() {
    let (mut ram, root) = tables(Levels::Four);
    for (index, entry) in [
        0x8000 | ALL | NX,
        0x8000 | (ALL & !USER),
        (0x8000 | ALL) & !1,
    ]
    .into_iter()
    .enumerate()
    {
        ram.entry(0x4000, index as u64, entry);
    }
    assert_eq!(executable(&ram, root).unwrap(), []);
    // Nor behind a table that forbids it.
    ram.entry(0x4000, 9, 0x8000 | ALL);
    assert_eq!(executable(&ram, root).unwrap(), vec![0x9000..0xa000; 1]);
    ram.entry(0x3000, 0, 0x4000 | ALL | NX);
    assert_eq!(executable(&ram, root).unwrap(), []);
}

#[test]
fn the_kernels_half_is_not_looked_at_and_its_mark_on_the_top_table_ignored() {
    let (mut ram, root) = tables(Levels::Four);
    ram.entry(0x4000, 9, 0x8000 | ALL);
    ram.entry(0x1000, 0, 0x2000 | ALL | NX);
    ram.entry(0x1000, 256, 0x2000 | ALL);
    ram.entry(0x1000, 511, 0xdead_0000_0000 | ALL);
    assert_eq!(executable(&ram, root).unwrap(), vec![0x9000..0xa000; 1]);
}

#[test]
fn tables_that_lead_to_themselves_end() {
    let (mut ram, root) = tables(Levels::Five);
    for table in 1..5_u64 {
        for index in 0..512 {
            ram.entry(table << 12, index, (table << 12) | ALL);
        }
    }
    // The last level of the loop maps pages: each is visited, but no more tables are read than allowed.
    assert_eq!(
        executable(&ram, root),
        Err(TablesError::TooMany { limit: LIMIT })
    );
    assert_eq!(ram.reads.get(), LIMIT);
}

#[test]
fn searches_that_share_a_budget_read_no_more_tables_together() {
    let (ram, root) = tables(Levels::Four);
    let budget = &mut TableBudget::new(6);
    let mut search = || each_executable(&ram, root, budget, |_| ControlFlow::<()>::Continue(()));
    assert_eq!(search(), Ok(ControlFlow::Continue(())));
    assert_eq!(search(), Err(TablesError::TooMany { limit: 6 }));
    assert_eq!((budget.read(), ram.reads.get()), (6, 6));
}

#[test]
fn a_visit_may_end_it() {
    let (mut ram, root) = tables(Levels::Four);
    ram.entry(0x4000, 1, 0x8000 | ALL);
    ram.entry(0x4000, 2, 0x8000 | ALL);
    let tables = &mut TableBudget::new(LIMIT);
    let flow = each_executable(&ram, root, tables, |page| ControlFlow::Break(page.start));
    assert_eq!(flow, Ok(ControlFlow::Break(0x1000)));
}

#[test]
fn tables_outside_ram_and_reserved_bits_are_told() {
    let (mut ram, root) = tables(Levels::Four);
    ram.entry(0x3000, 1, 0x123_0000 | ALL);
    let not_ram = WalkError::TableNotRam {
        at: Gva(0x20_0000),
        level: 1,
        table: Gpa(0x123_0000),
    };
    assert_eq!(executable(&ram, root), Err(not_ram.into()));
    let entry = 0x20_2000 | ALL | LARGE;
    ram.entry(0x3000, 1, entry);
    let reserved = WalkError::Reserved {
        at: Gva(0x20_0000),
        level: 2,
        entry,
    };
    assert_eq!(executable(&ram, root), Err(reserved.into()));
}

proptest! {
    /// Whatever stands in the tables: what one walk translates to an executable page of the user's, the other shows.
    #[test]
    fn agrees_with_single_walks(
        entries in proptest::collection::vec((1..5_u64, 0..8_u64, any::<u64>()), 0..32),
        probes in proptest::collection::vec(0..8_u64 * 8 * 8, 1..16),
    ) {
        let (mut ram, root) = tables(Levels::Four);
        for (table, index, raw) in entries {
            // Addresses that lead to one of the tables, or to a page right behind.
            let entry = (raw & (NX | ALL)) | ((raw >> 12 & 7) << 12) | (raw & LARGE & if table == 1 { 0 } else { LARGE });
            ram.entry(table << 12, index, entry);
        }
        let Ok(seen) = executable(&ram, root) else { return Ok(()) };
        prop_assert!(seen.is_sorted_by_key(|page| page.start));
        for probe in probes {
            let at = Gva((probe & 7) << 12 | (probe >> 3 & 7) << 21 | (probe >> 6 & 7) << 30);
            let shown = seen.iter().any(|page| page.contains(&at.0));
            let walked = translate(&ram, root, at).is_ok_and(|page| page.user && page.executable);
            // A mark on the top table is the one difference.
            prop_assert!(shown || !walked);
        }
    }
}
