use proptest::prelude::*;

use super::*;
use crate::sparse::Sparse;

const RIGHTS: u64 = 0b111;
const LARGE: u64 = 1 << 7;
const NX: u64 = 1 << 63;

/// Tables at 0x1000, 0x2000, … that lead to `leaf` on `leaf_level`; each table's entry grants everything.
fn map(levels: Levels, at: Gva, leaf: u64, leaf_level: u8) -> (Sparse, Root) {
    let mut ram = Sparse::default();
    let mut table = 0x1000;
    for level in (leaf_level + 1..=levels.count()).rev() {
        ram.entry(table, entry::index(at, level), (table + 0x1000) | RIGHTS);
        table += 0x1000;
    }
    ram.entry(table, entry::index(at, leaf_level), leaf);
    let root = Root {
        table: Gpa(0x1000),
        levels,
    };
    (ram, root)
}

#[test]
fn every_page_size_in_both_modes() {
    for levels in [Levels::Four, Levels::Five] {
        for (level, page_size) in [
            (1, PageSize::Kib4),
            (2, PageSize::Mib2),
            (3, PageSize::Gib1),
        ] {
            let at = Gva(0x7abc_dead_beef);
            let large = if level > 1 { LARGE } else { 0 };
            let (ram, root) = map(levels, at, 0x40_0000_0000 | RIGHTS | large | NX, level);
            let seen = translate(&ram, root, at).unwrap();
            let inside = at.0 & (page_size.bytes() - 1);
            assert_eq!(seen.gpa, Gpa(0x40_0000_0000 + inside));
            assert_eq!(seen.page_size, page_size);
            assert_eq!(seen.bytes_left(), page_size.bytes() - inside);
            assert!(seen.writable && seen.user && !seen.executable);
        }
    }
}

#[test]
fn the_pat_bit_of_a_large_page_is_no_address_bit() {
    let at = Gva(0x20_0123);
    let (ram, root) = map(Levels::Four, at, 0x60_0000 | 1 << 12 | LARGE | 1, 2);
    assert_eq!(translate(&ram, root, at).unwrap().gpa, Gpa(0x60_0123));
}

#[test]
fn rights_are_those_of_all_levels_together() {
    let at = Gva(0x5000);
    let (mut ram, root) = map(Levels::Four, at, 0x9000 | RIGHTS, 1);
    assert!(translate(&ram, root, at).unwrap().writable);
    ram.entry(0x2000, entry::index(at, 3), 0x3000 | 0b001 | NX);
    let seen = translate(&ram, root, at).unwrap();
    assert!(!seen.writable && !seen.user && !seen.executable);
}

#[test]
fn a_page_of_no_access_is_not_present_and_its_entry_is_told() {
    let at = Gva(0x5000);
    let none = 0x9000 | 1 << 8;
    let (ram, root) = map(Levels::Four, at, none, 1);
    let expected = WalkError::NotPresent {
        at,
        level: 1,
        entry: none,
    };
    assert_eq!(translate(&ram, root, at), Err(expected));
}

#[test]
fn reserved_bits_fault() {
    let at = Gva(0x5000);
    for (levels, leaf, level) in [
        (Levels::Four, LARGE | 1, 4),
        (Levels::Five, LARGE | 1, 5),
        (Levels::Four, 0x2000 | LARGE | 1, 2),
        (Levels::Four, 0x20_0000 | LARGE | 1, 3),
    ] {
        let (ram, root) = map(levels, at, leaf, level);
        let expected = WalkError::Reserved {
            at,
            level,
            entry: leaf,
        };
        assert_eq!(translate(&ram, root, at), Err(expected));
    }
}

#[test]
fn canonical_addresses() {
    for (levels, top) in [(Levels::Four, 1_u64 << 47), (Levels::Five, 1 << 56)] {
        for inside in [0, top - 1, top.wrapping_neg(), u64::MAX] {
            assert!(levels.is_canonical(Gva(inside)), "{inside:#x}");
        }
        for outside in [top, top.wrapping_neg() - 1, 1 << 63] {
            assert!(!levels.is_canonical(Gva(outside)), "{outside:#x}");
            let root = Root {
                table: Gpa(0),
                levels,
            };
            let at = Gva(outside);
            let refused = translate(&Sparse::default(), root, at);
            assert_eq!(refused, Err(WalkError::NotCanonical { at }));
        }
    }
}

#[test]
fn a_table_outside_ram_is_told_with_its_level() {
    let at = Gva(0x5000);
    let (mut ram, root) = map(Levels::Four, at, 0x9000 | RIGHTS, 1);
    ram.entry(0x2000, entry::index(at, 3), 0xffff_f000 | 1);
    let expected = WalkError::TableNotRam {
        at,
        level: 2,
        table: Gpa(0xffff_f000),
    };
    assert_eq!(translate(&ram, root, at), Err(expected));
}

#[test]
fn a_table_that_names_itself_ends_the_walk_at_the_last_level() {
    for levels in [Levels::Four, Levels::Five] {
        let mut ram = Sparse::default();
        for index in 0..512 {
            ram.entry(0x1000, index, 0x1000 | RIGHTS);
        }
        let root = Root {
            table: Gpa(0x1000),
            levels,
        };
        let seen = translate(&ram, root, Gva(0x7fff_1234_5678)).unwrap();
        assert_eq!(seen.gpa, Gpa(0x1678));
        assert_eq!(ram.reads.get(), usize::from(levels.count()));
    }
}

proptest! {
    #[test]
    fn hostile_tables_end_within_as_many_reads_as_there_are_levels(
        entries in proptest::collection::vec((0..8_u64, 0..512_u64, any::<u64>(), 0..10_u64), 0..400),
        addresses in proptest::collection::vec(any::<u64>(), 1..50),
        five in any::<bool>(),
    ) {
        let levels = if five { Levels::Five } else { Levels::Four };
        let mut ram = Sparse::default();
        for (table, index, bits, next) in entries {
            // Mostly present, mostly leading to another table of the eight.
            ram.entry(table * 0x1000, index, (bits & 0xfff0_0000_0000_0fff) | (next * 0x1000) | 1);
        }
        for address in addresses {
            let at = Gva(address.cast_signed().wrapping_shr(17).cast_unsigned());
            ram.reads.set(0);
            let seen = translate(&ram, Root { table: Gpa(address & 0x7000), levels }, at);
            prop_assert!(ram.reads.get() <= usize::from(levels.count()));
            if let Ok(seen) = seen {
                prop_assert_eq!(seen.gpa.0 & 0xfff, at.0 & 0xfff);
                prop_assert!(seen.bytes_left() <= seen.page_size.bytes());
            }
        }
    }

    #[test]
    fn what_was_mapped_is_translated_back(
        page in 0..1_u64 << 36,
        frame in 0..1_u64 << 40,
        offset in 0..0x1000_u64,
        five in any::<bool>(),
    ) {
        let levels = if five { Levels::Five } else { Levels::Four };
        let at = Gva(((page << 12 | offset) << 16).cast_signed().wrapping_shr(16).cast_unsigned());
        let (ram, root) = map(levels, at, frame << 12 | RIGHTS, 1);
        prop_assert_eq!(translate(&ram, root, at).unwrap().gpa, Gpa(frame << 12 | offset));
    }
}
