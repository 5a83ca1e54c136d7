use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::pwrite;

use super::*;

const PAGES: u64 = 8;

/// A sealed file whose pages are filled with their numbers.
fn file() -> OwnedFd {
    let file = memfd_create("ram", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, PAGES * 4096).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    for page in 0..PAGES {
        let bytes = [u8::try_from(page).unwrap(); 4096];
        pwrite(&file, &bytes, page * 4096).unwrap();
    }
    file
}

const fn range(address: u64, pages: u64, file_page: u64) -> RamRange {
    RamRange {
        address: Gpa(address),
        size: pages * 4096,
        file_offset: file_page * 4096,
    }
}

/// Two pages, a hole, three pages, and two that adjoin these but stand elsewhere in the file.
fn ram() -> GuestRam {
    let ranges = [
        range(0, 2, 0),
        range(0x10_0000, 3, 5),
        range(0x10_3000, 2, 2),
    ];
    GuestRam::map(file(), &ranges).unwrap()
}

#[test]
fn addresses_lead_to_their_place_in_the_file() {
    let mut seen = [0; 4];
    ram().read(Gpa(0x1ffc), &mut seen).unwrap();
    assert_eq!(seen, [1; 4]);
    ram().read(Gpa(0x10_2ffe), &mut seen).unwrap();
    assert_eq!(seen, [7, 7, 2, 2]);
    assert_eq!(
        ram().read_u64(Gpa(0x10_0ffc)).unwrap(),
        0x0606_0606_0505_0505
    );
    assert_eq!(
        ram().read_u64(Gpa(0x10_4ff8)).unwrap(),
        0x0303_0303_0303_0303
    );
}

#[test]
fn the_first_address_outside_ram_is_told() {
    for (at, size, outside) in [
        (0x1fff, 2, 0x2000),
        (0x2000, 1, 0x2000),
        (0xf_ffff, 1, 0xf_ffff),
        (0x10_4fff, 2, 0x10_5000),
        (u64::MAX, 1, u64::MAX),
    ] {
        let expected = Err(NotRam { at: Gpa(outside) });
        let mut buf = vec![0xee; size];
        assert_eq!(ram().read(Gpa(at), &mut buf), expected);
        let mut buf = vec![0xee; size];
        assert_eq!(ram().copy_pages(Gpa(at), &mut buf), expected);
        assert!(buf.iter().all(|&byte| byte == 0xee));
    }
}

#[test]
fn a_region_may_lie_in_several_ranges() {
    let mut copy = vec![0; 0x4000];
    ram().copy_pages(Gpa(0x10_1000), &mut copy).unwrap();
    let first_of_each: Vec<_> = copy.chunks(0x1000).map(|page| page[0]).collect();
    assert_eq!(first_of_each, [6, 7, 2, 3]);
    assert_eq!(copy[0x2fff..0x3001], [2, 3]);
}

#[test]
fn a_file_that_may_be_truncated_is_refused() {
    let file = memfd_create("ram", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, 4096).unwrap();
    let refused = GuestRam::map(&file, &[range(0, 1, 0)]).unwrap_err();
    assert_eq!(refused, MapRamError::NotSealed);
    let plain = std::fs::File::open("/proc/self/exe").unwrap();
    let refused = GuestRam::map(plain, &[range(0, 1, 0)]).unwrap_err();
    assert_eq!(refused, MapRamError::NotSealed);
}

#[test]
fn bad_ranges_are_refused() {
    let refused = |ranges: &[RamRange]| GuestRam::map(file(), ranges).unwrap_err();
    assert_eq!(refused(&[]), MapRamError::NoRange);
    let empty = range(0, 0, 0);
    assert_eq!(refused(&[empty]), MapRamError::BadRange(empty));
    let unaligned = range(0x800, 1, 0);
    assert_eq!(refused(&[unaligned]), MapRamError::BadRange(unaligned));
    let wrapping = range(u64::MAX - 0xfff, 2, 0);
    assert_eq!(refused(&[wrapping]), MapRamError::BadRange(wrapping));
    let behind = range(0x1000, 1, 4);
    assert_eq!(
        refused(&[range(0, 2, 0), behind]),
        MapRamError::Unordered(behind)
    );
    let long = range(0, 2, PAGES - 1);
    let file_size = PAGES * 4096;
    assert_eq!(
        refused(&[long]),
        MapRamError::BeyondFile {
            range: long,
            file_size
        }
    );
    let far = RamRange {
        file_offset: u64::MAX - 0xfff,
        ..range(0, 1, 0)
    };
    assert_eq!(
        refused(&[far]),
        MapRamError::BeyondFile {
            range: far,
            file_size
        }
    );
}

#[test]
fn a_word_is_never_torn_by_a_writer() {
    let file = file();
    let ram = GuestRam::map(&file, &[range(0, PAGES, 0)]).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // An aligned eight-byte store, as a guest makes one to a page table.
                pwrite(&file, &[0x11; 8], 0x40).unwrap();
                pwrite(&file, &[0x22; 8], 0x40).unwrap();
            }
        });
        for _ in 0..100_000 {
            let word = ram.read_u64(Gpa(0x40)).unwrap();
            assert!([0, 0x1111_1111_1111_1111, 0x2222_2222_2222_2222].contains(&word));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
