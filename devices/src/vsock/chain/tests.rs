use proptest::prelude::{any, prop, proptest};
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::vhost_user::{Memory, View};

const RAM: usize = 0x8000;
const SIZE: u16 = 16;
const DESCRIPTORS: u64 = 0;
const DATA: u64 = 0x3000;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A descriptor: address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

fn ram() -> Memory {
    Memory::from_ranges(&[(GuestAddress(0), RAM)]).unwrap()
}

fn put(ram: &Memory, at: u64, descriptors: &[Descriptor]) {
    for (index, (address, len, flags, next)) in descriptors.iter().enumerate() {
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        ram.write_slice(&bytes, GuestAddress(at + 16 * index as u64))
            .unwrap();
    }
}

/// The chain that starts at descriptor 0.
fn chain<'v, 'm>(view: &'v View<'m>, ram: &Memory, table: &[Descriptor]) -> Chain<'v, 'm> {
    put(ram, DESCRIPTORS, table);
    Chain::new(view, GuestAddress(DESCRIPTORS), SIZE, 0)
}

fn packet(len: u32) -> Header {
    Header {
        src_cid: 42,
        dst_cid: 2,
        len,
        kind: 1,
        op: 5,
        ..Header::default()
    }
}

#[test]
fn reads_a_packet_however_it_is_cut() {
    let payload: Vec<u8> = (0..100).collect();
    for cut in [1, 43, 44, 45, 100, 143] {
        let ram = ram();
        let view = View::of(&ram);
        let bytes = [&packet(100).to_bytes()[..], &payload].concat();
        ram.write_slice(&bytes[..cut], GuestAddress(DATA)).unwrap();
        ram.write_slice(&bytes[cut..], GuestAddress(DATA + 0x1000))
            .unwrap();
        let first = u32::try_from(cut).unwrap();
        let table = [(DATA, first, NEXT, 1), (DATA + 0x1000, 144 - first, 0, 0)];
        let mut read = Vec::new();
        assert_eq!(
            read_packet(chain(&view, &ram, &table), &mut read).unwrap(),
            packet(100)
        );
        assert_eq!(read, payload);
    }
}

#[test]
fn a_payload_that_is_not_there_is_an_error() {
    let ram = ram();
    let view = View::of(&ram);
    ram.write_slice(&packet(10).to_bytes(), GuestAddress(DATA))
        .unwrap();
    let table = [(DATA, 44, NEXT, 1), (DATA + 0x100, 9, 0, 0)];
    let result = read_packet(chain(&view, &ram, &table), &mut Vec::new());
    assert!(matches!(
        result,
        Err(ChainError::Pieces(PiecesError::TooShort { missing: 1 }))
    ));
}

#[test]
fn a_length_beyond_the_limit_reserves_nothing() {
    let ram = ram();
    let view = View::of(&ram);
    ram.write_slice(&packet(u32::MAX).to_bytes(), GuestAddress(DATA))
        .unwrap();
    let mut payload = Vec::new();
    let result = read_packet(chain(&view, &ram, &[(DATA, u32::MAX, 0, 0)]), &mut payload);
    assert!(matches!(result, Err(ChainError::TooLarge(u32::MAX))));
    assert_eq!(payload.capacity(), 0);
}

#[test]
fn empty_and_looping_descriptors_end() {
    let ram = ram();
    let view = View::of(&ram);
    let mut payload = Vec::new();
    let result = read_packet(chain(&view, &ram, &[(DATA, 0, NEXT, 0)]), &mut payload);
    assert!(matches!(
        result,
        Err(ChainError::Pieces(PiecesError::TooShort { missing: 44 }))
    ));
    // An indirect table of 4096 empty descriptors, each pointing to itself.
    let result = read_packet(
        {
            put(&ram, DATA, &[(DATA, 0, NEXT, 0)]);
            chain(&view, &ram, &[(DATA, 0x1_0000, INDIRECT, 0)])
        },
        &mut payload,
    );
    assert!(matches!(
        result,
        Err(ChainError::Pieces(PiecesError::TooShort { missing: 44 }))
    ));
}

#[test]
fn a_packet_is_written_into_writable_pieces_only() {
    let ram = ram();
    let view = View::of(&ram);
    let table = [
        (DATA, 50, NEXT, 1),
        (DATA + 0x100, 44, WRITE | NEXT, 2),
        (DATA + 0x200, 3, WRITE, 0),
    ];
    assert_eq!(room(&Buffers::of(chain(&view, &ram, &table))), 47);
    assert_eq!(
        write_packet(
            &mut Buffers::of(chain(&view, &ram, &table)),
            &packet(3),
            b"abc"
        )
        .unwrap(),
        47
    );
    let mut read = [0; 3];
    ram.read_slice(&mut read, GuestAddress(DATA + 0x200))
        .unwrap();
    assert_eq!(&read, b"abc");
    assert!(
        write_packet(
            &mut Buffers::of(chain(&view, &ram, &table)),
            &packet(4),
            b"abcd"
        )
        .is_err()
    );
}

proptest! {
    /// A hostile guest fills descriptors, rings and data at will.
    #[test]
    fn hostile_ram_never_panics(
        table in prop::collection::vec((0..0x9000_u64, 0..0x2000_u32, 0..8_u16, 0..20_u16), 1..16),
        indirect in prop::collection::vec(any::<Descriptor>(), 0..8),
        data in prop::collection::vec(any::<u8>(), 0..200),
        len in 0..70_000_u32,
    ) {
        let ram = ram();
    let view = View::of(&ram);
        ram.write_slice(&packet(len).to_bytes(), GuestAddress(DATA)).unwrap();
        put(&ram, DATA + 0x1000, &indirect);
        ram.write_slice(&data, GuestAddress(DATA + 0x2000)).unwrap();
        let mut payload = Vec::new();
        if let Ok(header) = read_packet(chain(&view, &ram, &table), &mut payload) {
            assert_eq!(payload.len(), header.len as usize);
        }
        assert!(payload.len() <= MAX_PAYLOAD);
        let room = room(&Buffers::of(chain(&view, &ram, &table)));
        assert!(room <= HEADER_LEN + MAX_PAYLOAD);
        if let Some(fits) = room.checked_sub(HEADER_LEN) {
            let _ = write_packet(&mut Buffers::of(chain(&view, &ram, &table)), &packet(0), &vec![0; fits]);
        }
    }
}
