use proptest::prelude::*;

use super::*;

/// What QEMU 7.2.22 says of `-M q35 -m 512` before the guest runs.
const Q35: &str = r#"FlatView #0
 AS "mch", root: bus master container
 Root memory region: (none)
  No rendered FlatView

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-00000000000bffff (prio 0, ram): mem
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-000000001fffffff (prio 0, ram): mem @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios

FlatView #2
 AS "I/O", root: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan
"#;

#[test]
fn small_machines_agree_with_qemu() {
    verify(Q35, "mem", &ranges(Machine::Q35, 512 << 20)).unwrap();
    let wrong = verify(Q35, "mem", &ranges(Machine::Q35, 511 << 20));
    assert!(matches!(wrong, Err(LayoutError::Differs { .. })));
}

#[test]
fn ram_above_the_pci_hole_goes_on_where_the_low_part_ends() {
    let q35 = ranges(Machine::Q35, 5 << 30);
    assert_eq!(
        q35[1],
        RamRange {
            address: 1 << 20,
            size: (2 << 30) - (1 << 20),
            file_offset: 1 << 20
        }
    );
    assert_eq!(
        q35[2],
        RamRange {
            address: 4 << 30,
            size: 3 << 30,
            file_offset: 2 << 30
        }
    );
    let microvm = ranges(Machine::Microvm, 5 << 30);
    assert_eq!(
        microvm[2],
        RamRange {
            address: 4 << 30,
            size: 2 << 30,
            file_offset: 3 << 30
        }
    );
    assert_eq!(ranges(Machine::Q35, 0xafff_0000).len(), 2);
    assert_eq!(ranges(Machine::Microvm, 3 << 30).len(), 2);
}

#[test]
fn unreadable_numbers_are_refused() {
    let bad = Q35.replace(
        "000000001fffffff (prio 0, ram)",
        "00000000000fffff (prio 0, ram)",
    );
    assert!(verify(&bad, "mem", &ranges(Machine::Q35, 512 << 20)).is_err());
    let bad = Q35.replace("0000000000000000-00000000000bffff", "zz-00000000000bffff");
    assert!(matches!(
        parse(&bad, "mem"),
        Err(LayoutError::Unreadable(10))
    ));
    assert!(matches!(parse("", "mem"), Err(LayoutError::NoMemory)));
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in "(FlatView|AS \"memory\",|[0-9a-f]{16}-[0-9a-f]{16} \\(prio 0, ram\\): mem( @[0-9a-f]{16})?|\n|.)*") {
        let _ = parse(&format!(" AS \"memory\",\n{text}"), "mem");
    }

    #[test]
    fn ranges_cover_the_file_but_for_the_hole(mib in 64u64..1 << 20, q35: bool) {
        let machine = if q35 { Machine::Q35 } else { Machine::Microvm };
        let ranges = ranges(machine, mib << 20);
        let total: u64 = ranges.iter().map(|range| range.size).sum();
        prop_assert_eq!(total, (mib << 20) - (LEGACY_HOLE.end - LEGACY_HOLE.start));
        prop_assert!(ranges.windows(2).all(|pair| pair[0].address + pair[0].size <= pair[1].address));
    }
}
