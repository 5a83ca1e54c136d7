use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileMemory};

use super::*;
use crate::vhost_user::noted::Noted;
use crate::vhost_user::{Ram, Region, View};

const PAGE: u64 = 4096;
/// Pages of the RAM file, of each of two regions that lie beside each other, and where each begins in the file.
const FILE: u64 = 20;
const REGION: u64 = 6;
const BEGIN: [u64; 2] = [11, 2];

fn ram() -> (Ram, Noted) {
    let (noted, file, log) = Noted::new(FILE * PAGE);
    let regions = (0..).zip(BEGIN).map(|(number, begin)| {
        let guest = number * REGION * PAGE;
        let region = Region {
            guest,
            size: REGION * PAGE,
            user: guest,
            offset: begin * PAGE,
        };
        (region, file.try_clone().unwrap())
    });
    let mut ram = Ram::logged(Some(log));
    ram.remap(regions).unwrap();
    (ram, noted)
}

/// Of a page of the guest's, the one of the file.
fn in_file(page: u64) -> u64 {
    BEGIN[usize::try_from(page / REGION).unwrap()] + page % REGION
}

/// A file that all of that can be read from.
fn readable(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

/// Ways of writing, of which the last ones only reach what lies in one region, at an even place; and two bytes alone.
const WAYS: usize = 11;
const IN_ONE: usize = 5;
const OF_TWO: usize = 9;

fn write(memory: &Memory, way: usize, at: GuestAddress, bytes: &[u8]) {
    let slice = || memory.get_slice(at, bytes.len()).unwrap();
    let size = bytes.len();
    let number = u16::from_le_bytes([bytes[0], bytes[1]]);
    match way {
        0 => View::of(memory).write(at, bytes).unwrap(),
        1 => memory.write_slice(bytes, at).unwrap(),
        2 => assert_eq!(memory.write(bytes, at).unwrap(), size),
        3 => memory
            .read_exact_volatile_from(at, &mut &*bytes, size)
            .unwrap(),
        4 => memory
            .read_exact_volatile_from(at, &mut readable(bytes), size)
            .unwrap(),
        5 => slice().copy_from(bytes),
        6 => {
            let mut theirs = bytes.to_vec();
            vm_memory::VolatileSlice::from(&mut theirs[..]).copy_to_volatile_slice(slice());
        }
        7 => {
            let numbers: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|two| u16::from_le_bytes([two[0], two[1]]))
                .collect();
            let (all, rest) = slice().split_at(2 * numbers.len()).unwrap();
            all.copy_from(&numbers);
            rest.copy_from(&bytes[2 * numbers.len()..]);
        }
        8 => {
            let (first, rest) = slice().split_at(size / 2).unwrap();
            first.write_slice(&bytes[..size / 2], 0).unwrap();
            rest.offset(0).unwrap().copy_from(&bytes[size / 2..]);
        }
        9 => slice().get_ref(0).unwrap().store(number),
        _ => View::of(memory)
            .store(at, number, Ordering::Release)
            .unwrap(),
    }
}

proptest! {
    /// Whatever way is taken, and however regions lie in the file.
    #[test]
    fn what_is_written_is_noted_and_nothing_else(
        way in 0..WAYS,
        at in 0..2 * REGION * PAGE,
        size in prop_oneof![2..64_u64, 2..3 * PAGE],
        byte in 1..=255_u8,
    ) {
        let (ram, mut noted) = ram();
        let size = if way < OF_TWO { size } else { 2 };
        let at = if way < IN_ONE { at } else { at & !1 };
        let end = if way < IN_ONE { 2 * REGION } else { (at / (REGION * PAGE) + 1) * REGION };
        let size = size.min(end * PAGE - at);
        prop_assume!(size >= 2);
        noted.begin();
        write(&ram.memory, way, GuestAddress(at), &vec![byte; usize::try_from(size).unwrap()]);
        let expected = (at / PAGE..=(at + size - 1) / PAGE).map(in_file).collect();
        prop_assert_eq!(noted.end(), expected);
    }
}

#[test]
fn what_is_read_is_not_noted() {
    let (ram, mut noted) = ram();
    noted.begin();
    let view = View::of(&ram.memory);
    view.read(GuestAddress(PAGE - 1), &mut [0; 9]).unwrap();
    view.read_behind(GuestAddress(0), 5000, &mut Vec::new())
        .unwrap();
    assert_eq!(view.load(GuestAddress(0), Ordering::Acquire), Some(0));
    assert!(noted.end().is_empty());
}

/// Without a log.
#[test]
fn nothing_is_noted_where_nobody_measures() {
    let memory = Memory::from_ranges(&[(GuestAddress(0), 1 << 16)]).unwrap();
    for way in 0..WAYS {
        write(&memory, way, GuestAddress(PAGE - 2), &[7; 4]);
    }
    assert_eq!(
        memory.read_obj::<u16>(GuestAddress(PAGE - 2)).unwrap(),
        0x0707
    );
}
