use super::*;
use crate::address::Gpa;
use crate::sparse::Sparse;
use crate::walk::Levels;

const PRESENT: u64 = 1;

/// Maps the virtual pages 0x1000, 0x2000 and the last one of the address space; 0x3000 is mapped outside RAM.
fn ram() -> Sparse {
    let mut ram = Sparse::default();
    for (table, next) in [
        (0x10_0000, 0x10_1000),
        (0x10_1000, 0x10_2000),
        (0x10_2000, 0x10_3000),
    ] {
        ram.entry(table, 0, next | PRESENT);
        ram.entry(table, 511, next | PRESENT);
    }
    ram.entry(0x10_3000, 1, 0xa000 | PRESENT);
    ram.entry(0x10_3000, 2, 0x5000 | PRESENT);
    ram.entry(0x10_3000, 3, 0xfe00_0000 | PRESENT);
    ram.entry(0x10_3000, 511, 0xa000 | PRESENT);
    ram.write(Gpa(0xaff8), b"12345678");
    ram.write(Gpa(0x5000), b"abcd\0");
    ram
}

fn space(ram: &Sparse) -> AddressSpace<'_, Sparse> {
    let root = Root {
        table: Gpa(0x10_0000),
        levels: Levels::Four,
    };
    AddressSpace::new(ram, root)
}

#[test]
fn a_read_follows_the_tables_from_page_to_page() {
    let ram = ram();
    let bytes = space(&ram).read_array::<8>(Gva(0x1ffc)).unwrap();
    assert_eq!(&bytes, b"5678abcd");
    assert_eq!(
        space(&ram).read_u64(Gva(0x1ff8)).unwrap(),
        u64::from_le_bytes(*b"12345678")
    );
}

#[test]
fn what_cannot_be_read_is_told() {
    let ram = ram();
    let space = space(&ram);
    assert!(matches!(
        space.read_array::<1>(Gva(0x4000)),
        Err(ReadVirtualError::Walk(WalkError::NotPresent {
            level: 1,
            ..
        }))
    ));
    assert_eq!(
        space.read_array::<1>(Gva(0x3004)),
        Err(ReadVirtualError::NotRam {
            at: Gva(0x3004),
            source: NotRam {
                at: Gpa(0xfe00_0004)
            }
        })
    );
}

#[test]
fn the_end_of_the_address_space_is_readable_and_not_passed() {
    let ram = ram();
    let space = space(&ram);
    assert_eq!(&space.read_array::<2>(Gva(u64::MAX - 1)).unwrap(), b"78");
    let at = Gva(u64::MAX);
    let refused = space.read_array::<2>(at);
    assert_eq!(refused, Err(ReadVirtualError::Wraps { at, size: 2 }));
}
