use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const RAM: FileId = FileId {
    major: 0,
    minor: 1,
    inode: 1042,
};

/// As of QEMU 7.2, but for the number of its libraries.
const QEMU: &str = "\
55d2c8a00000-55d2c8d2f000 r--p 00000000 fe:00 787321                     /usr/bin/qemu-system-x86_64
55d2c9ff2000-55d2cb0c5000 rw-p 00000000 00:00 0                          [heap]
7f2a4fe00000-7f2acfe00000 rw-s 00000000 00:01 1042                       /memfd:bartizan-ram (deleted)
7f2acfe00000-7f2acfe01000 ---p 00000000 00:00 0 
7f2ad0a28000-7f2ad0a4e000 r--p 00000000 fe:00 1042                       /usr/lib/a name\\012with it
7f2ad0a4e000-7f2ad0a4f000 rw-s 00001000 00:01 1043                       /memfd:bartizan-ram (deleted)
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

fn parse(text: &str) -> Result<Mappings, MapsError> {
    Mappings::parse(text.as_bytes(), RAM)
}

fn line(start: u64, pages: u64, perms: &str, offset: u64) -> String {
    let end = start + pages * 4096;
    format!(
        "{start:08x}-{end:08x} {perms} {offset:08x} 00:01 1042                       /memfd:ram\n"
    )
}

#[test]
fn the_ram_file_is_found_by_its_numbers() {
    let mappings = parse(QEMU).unwrap();
    let expected = Mapped::new(0x7f2a_4fe0_0000, 2 << 30, 0).unwrap();
    assert_eq!(mappings.as_slice(), [expected]);
}

#[test]
fn a_file_that_is_not_mapped_is_not_found() {
    let file = rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let maps = std::fs::File::open("/proc/self/maps").unwrap();
    let id = FileId::of(&file).unwrap();
    let refused = Mappings::read(maps, id);
    assert!(matches!(refused, Err(MapsError::NotMapped)), "{refused:?}");
}

#[test]
fn mappings_come_in_the_order_of_the_file() {
    let text = line(0x10_0000, 2, "rw-s", 0x8000) + &line(0x20_0000, 3, "rwxs", 0);
    let offsets: Vec<u64> = parse(&text)
        .unwrap()
        .as_slice()
        .iter()
        .map(|piece| piece.file().offset())
        .collect();
    assert_eq!(offsets, [0, 0x8000]);
}

/// Known attack: a guest that took its QEMU over writes its RAM by a mapping that nobody watches.
#[test]
fn a_second_mapping_is_refused() {
    let twice = line(0x10_0000, 4, "rw-s", 0) + &line(0x20_0000, 1, "rw-s", 0x3000);
    let refused = parse(&twice);
    assert!(
        matches!(refused, Err(MapsError::Overlap(OverlapError::File(_)))),
        "{refused:?}"
    );
}

#[test]
fn private_and_read_only_mappings_are_refused() {
    let good = line(0x10_0000, 4, "rw-s", 0);
    let private = parse(&(good.clone() + &line(0x20_0000, 1, "rw-p", 0x9000)));
    assert!(matches!(private, Err(MapsError::Private(0x20_0000))));
    let read_only = parse(&(good + &line(0x20_0000, 1, "r--s", 0x9000)));
    assert!(matches!(read_only, Err(MapsError::NotWritable(0x20_0000))));
}

#[test]
fn nothing_found_is_an_error() {
    for text in [
        "",
        "00001000-00002000 rw-s 00000000 00:01 1041 /memfd:ram\n",
    ] {
        assert!(matches!(parse(text), Err(MapsError::NotMapped)), "{text}");
    }
}

#[test]
fn what_linux_does_not_write_is_refused() {
    for bad in [
        "\n",
        "00100000-00101000 rw-s 00000000 00:01 1042 x",
        "00100000-00101000 rw-s 00000000 00:01 1042\n",
        "00100000 00101000 rw-s 00000000 00:01 1042 \n",
        "00100000-00101000  rw-s 00000000 00:01 1042 \n",
        "00100000-00101000 rw-q 00000000 00:01 1042 \n",
        "00100000-00101000 rw-sx 00000000 00:01 1042 \n",
        "00100000-00101000 rw-s 0x000000 00:01 1042 \n",
        "00100000-00101000 rw-s 00000000 0001 1042 \n",
        "00100000-00101000 rw-s 00000000 00:01 +1042 \n",
        "00100000-00101000 rw-s 00000000 00:01 104a \n",
        "00100000-00101000 rw-s 00000000 100000000:01 1042 \n",
        "00100000-00101000 rw-s 00000800 00:01 1042 \n",
        "00100000-00101000 rw-s fffffffffffff000 00:01 1042 \n",
        "00100000-00101000 rw-s 10000000000000000 00:01 1042 \n",
        "0010000A-00101000 rw-s 00000000 00:01 1042 \n",
        "00100800-00101000 rw-s 00000000 00:01 1042 \n",
        "00101000-00101000 rw-s 00000000 00:01 1042 \n",
        "00102000-00101000 rw-s 00000000 00:01 1042 \n",
    ] {
        assert!(matches!(parse(bad), Err(MapsError::Malformed(1))), "{bad}");
    }
    let backwards = line(0x20_0000, 1, "rw-s", 0) + &line(0x10_0000, 1, "rw-s", 0x9000);
    assert!(matches!(parse(&backwards), Err(MapsError::Malformed(2))));
}

#[test]
fn more_than_is_looked_at_is_refused() {
    let mut text = String::new();
    for index in 0..MAX_LINES as u64 {
        let start = 0x1000 * (index + 1);
        writeln!(
            text,
            "{start:08x}-{:08x} rw-p 00000000 00:00 0 ",
            start + 0x1000
        )
        .unwrap();
    }
    assert!(matches!(parse(&text), Err(MapsError::NotMapped)));
    text.push_str(&line(0x7000_0000_0000, 1, "rw-s", 0));
    assert!(matches!(parse(&text), Err(MapsError::TooMany)));
    let endless = Mappings::read(io::repeat(b'a'), RAM);
    assert!(matches!(endless, Err(MapsError::TooMany)));
}

/// Mappings of a process: a gap before each, its size, what it maps, and where it is in the file, in pages.
fn layout() -> impl Strategy<Value = Vec<(u64, u64, bool, u64)>> {
    proptest::collection::vec((0_u64..9, 1_u64..9, any::<bool>(), 0_u64..64), 0..24)
}

proptest! {
    #[test]
    fn what_is_mapped_is_found_or_refused(layout in layout()) {
        let (mut text, mut expected, mut at) = (String::new(), Vec::new(), 0x1000);
        for (gap, pages, is_ram, file_page) in layout {
            at += gap * 4096;
            if is_ram {
                text += &line(at, pages, "rw-s", file_page * 4096);
                expected.push(Mapped::new(at, pages * 4096, file_page * 4096).unwrap());
            } else {
                writeln!(text, "{at:08x}-{:08x} rw-p 00000000 00:00 0 ", at + pages * 4096).unwrap();
            }
            at += pages * 4096;
        }
        let mut pages: Vec<u64> = expected
            .iter()
            .flat_map(|piece| (0..piece.file().pages()).map(|page| piece.file().offset() / 4096 + page))
            .collect();
        let all = pages.len();
        pages.sort_unstable();
        pages.dedup();
        expected.sort_unstable_by_key(|piece| piece.file());
        match parse(&text) {
            Ok(found) => {
                prop_assert_eq!(found.as_slice(), expected);
                prop_assert_eq!(pages.len(), all);
            }
            Err(MapsError::NotMapped) => prop_assert!(expected.is_empty()),
            Err(MapsError::Overlap(_)) => prop_assert!(pages.len() < all),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn nothing_makes_it_panic(mut text in Just(QEMU.as_bytes().to_vec()), at in 0..QEMU.len(), bytes: [u8; 3], other: Vec<u8>) {
        for (place, byte) in text.iter_mut().skip(at).zip(bytes) {
            *place = byte;
        }
        let _ = Mappings::parse(&text, RAM);
        let _ = Mappings::parse(&other, RAM);
    }
}
