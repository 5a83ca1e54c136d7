//! Tables made by hand: RAM of a few pages, of which each may be a table of any level.

use std::cell::Cell;

use bartizan_guest_memory::walk::Levels;
use bartizan_guest_memory::{Gpa, NotRam, RamSpan};

use super::*;

const ALL: u64 = 0b111;
const TABLE: u64 = 4096;

/// Pages of entries from address 0 on, and a count of the reads.
struct Tables {
    pages: Vec<[u64; 512]>,
    reads: Cell<usize>,
}

impl Tables {
    fn new(pages: Vec<[u64; 512]>) -> Self {
        let reads = Cell::new(0);
        Self { pages, reads }
    }

    fn search(&self, pid: u32, root: u64, tables: &mut TableBudget) -> Result<(), Refusal> {
        let table = Gpa(root * TABLE);
        let levels = Levels::Four;
        search(self, pid, Root { table, levels }, tables, |_| None)
    }
}

impl PhysicalMemory for Tables {
    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), NotRam> {
        self.reads.set(self.reads.get() + 1);
        let page = usize::try_from(at.0 / TABLE).unwrap();
        let page = self.pages.get(page).ok_or(NotRam { at })?;
        for (into, entry) in into.chunks_exact_mut(8).zip(page) {
            into.copy_from_slice(&entry.to_le_bytes());
        }
        Ok(())
    }

    fn spans(&self) -> Vec<RamSpan> {
        Vec::new()
    }
}

/// Its first entries lead to these pages.
fn leading_to(pages: impl IntoIterator<Item = u64>) -> [u64; 512] {
    let mut table = [0; 512];
    for (entry, page) in table.iter_mut().zip(pages) {
        *entry = (page * TABLE) | ALL;
    }
    table
}

#[test]
fn a_table_that_leads_to_itself_is_refused_by_process_and_bound() {
    let ram = Tables::new(vec![leading_to([0; 512])]);
    let mut tables = budget();
    assert_eq!(
        ram.search(7, 0, &mut tables),
        Err(Refusal::TooManyPageTables {
            pid: 7,
            limit: 65_536
        })
    );
    assert_eq!(ram.reads.get(), MAX_TABLES);
    // Nothing is left for another: a hostile guest's 64 processes cost no more than one.
    assert!(ram.search(8, 0, &mut tables).is_err());
    assert_eq!(ram.reads.get(), MAX_TABLES);
}

#[test]
fn processes_share_one_budget() {
    // Two processes of 3 + 512 tables each, of which the last are one and the same page.
    let last = leading_to([6]);
    let chain = |next| leading_to([next]);
    let ram = Tables::new(vec![
        chain(1),
        chain(2),
        leading_to([5; 512]),
        chain(4),
        chain(2),
        last,
    ]);
    let each = 3 + 512;
    let mut tables = TableBudget::new(2 * each - 1);
    assert_eq!(ram.search(7, 0, &mut tables), Ok(()));
    assert_eq!(tables.read(), each);
    let limit = u32::try_from(2 * each - 1).unwrap();
    assert_eq!(
        ram.search(8, 3, &mut tables),
        Err(Refusal::TooManyPageTables { pid: 8, limit })
    );
    let mut tables = TableBudget::new(2 * each);
    for (pid, root) in [(7, 0), (8, 3)] {
        assert_eq!(ram.search(pid, root, &mut tables), Ok(()));
    }
    assert_eq!(tables.read(), 2 * each);
}

#[test]
fn tables_that_are_no_ram_are_an_inconsistency() {
    let ram = Tables::new(vec![leading_to([9])]);
    let refused = ram.search(7, 0, &mut budget());
    assert!(
        matches!(&refused, Err(Refusal::InconsistentMemory(why)) if why.starts_with("process 7: ")),
        "{refused:?}"
    );
}
