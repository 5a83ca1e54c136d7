use std::os::fd::OwnedFd;
use std::sync::Arc;

use proptest::prelude::{any, prop, proptest};
use rustix::event::epoll;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::vhost_user::noted::Noted;
use crate::vhost_user::{Ram, Region, Ring};
use crate::vsock::{Header, Limits, Services, offer};

const RAM: u64 = 0x8000;
const GUEST: u32 = 42;

fn logged_ram() -> (Ram, Noted) {
    let (noted, file, log) = Noted::new(RAM);
    let region = Region {
        guest: 0,
        size: RAM,
        user: 0,
        offset: 0,
    };
    let mut ram = Ram::logged(Some(log));
    ram.remap([(region, file)]).unwrap();
    (ram, noted)
}

fn place(ring: &mut Ring, ram: &Ram, base: u64, epoll: &OwnedFd) {
    ring.resize(16).unwrap();
    let at = |offset| GuestAddress(base + offset);
    ring.place(&ram.memory, at(0), at(0x100), at(0x200))
        .unwrap();
    ring.start(None, epoll, 0).unwrap();
    ring.enable(true);
}

/// A set-up device over RAM with these bytes: rx ring at 0, tx ring at 0x1000, data behind.
fn device(bytes: &[u8]) -> (Backend, Switch, Noted) {
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    let mut backend = Backend::new(offer(GUEST), Arc::clone(&epoll), 0).unwrap();
    let (ram, noted) = logged_ram();
    backend.ram = ram;
    backend
        .ram
        .memory
        .write_slice(bytes, GuestAddress(0))
        .unwrap();
    place(&mut backend.pairs[0].rx, &backend.ram, 0, &epoll);
    place(&mut backend.pairs[0].tx, &backend.ram, 0x1000, &epoll);
    let limits = Limits { connections: 4 };
    let switch = Switch::new(GUEST, Services::default(), limits, (epoll, 16), None).unwrap();
    (backend, switch, noted)
}

proptest! {
    /// Whatever stands in a guest's RAM: a turn ends, no more than two batches are ever due, and all that is written is noted.
    #[test]
    fn any_ram_is_survived(
        mut bytes in prop::collection::vec(any::<u8>(), 0x4000),
        available in (0..20_u16, 0..20_u16),
        len in 0..200_u32,
    ) {
        bytes[0x102..0x104].copy_from_slice(&available.0.to_le_bytes());
        bytes[0x1102..0x1104].copy_from_slice(&available.1.to_le_bytes());
        let header = Header { src_cid: GUEST.into(), dst_cid: 2, len, kind: 1, op: 5, ..Header::default() };
        bytes[0x3000..0x302c].copy_from_slice(&header.to_bytes());
        // Some descriptors and heads mean something.
        for index in 0..8_u16 {
            for ring in [0, 0x1000] {
                let at = ring + usize::from(index) * 16;
                bytes[at..at + 8].copy_from_slice(&0x3000_u64.to_le_bytes());
                bytes[at + 8..at + 12].copy_from_slice(&(44 + len).to_le_bytes());
                let head = ring + 0x104 + usize::from(index) * 2;
                bytes[head..head + 2].copy_from_slice(&index.to_le_bytes());
            }
        }
        let (mut backend, mut switch, mut noted) = device(&bytes);
        noted.begin();
        let mut exchange = Exchange::new(GUEST);
        let mut turns = 0;
        while exchange.turn(&mut backend, &mut switch) {
            turns += 1;
            assert!(turns < 4);
        }
        noted.end();
    }
}

/// A packet to a port that nobody listens at, and the answer to it.
#[test]
fn an_exchange_notes_buffer_and_used_rings_alone() {
    const WRITE: u8 = 2;
    let mut bytes = vec![0; 0x4000];
    for (ring, at, size, flags) in [(0, 0x2000_u64, 0x100_u32, WRITE), (0x1000, 0x3000, 44, 0)] {
        bytes[ring..ring + 8].copy_from_slice(&at.to_le_bytes());
        bytes[ring + 8..ring + 12].copy_from_slice(&size.to_le_bytes());
        bytes[ring + 12] = flags;
        bytes[ring + 0x102] = 1;
    }
    let header = Header {
        src_cid: GUEST.into(),
        dst_cid: 2,
        kind: 1,
        op: 1,
        ..Header::default()
    };
    bytes[0x3000..0x302c].copy_from_slice(&header.to_bytes());
    let (mut backend, mut switch, mut noted) = device(&bytes);
    noted.begin();
    while Exchange::new(GUEST).turn(&mut backend, &mut switch) {}
    assert_eq!(noted.end(), [0, 1, 2].into());
}
