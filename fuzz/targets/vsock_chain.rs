//! Packets in descriptor chains: the input is a guest's RAM, with one ring in it.
#![no_main]

use bartizan_devices::vhost_user::{Buffers, Memory, View};
use bartizan_devices::vsock::{HEADER_LEN, Header, MAX_PAYLOAD, read_packet, room, write_packet};
use bartizan_fuzz::vsock::{RAM, epoll, ring};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};

fuzz_target!(|data: &[u8]| {
    let ram = Memory::from_ranges(&[(GuestAddress(0), RAM)]).expect("RAM");
    let bytes = data.get(..RAM).unwrap_or(data);
    ram.write_slice(bytes, GuestAddress(0))
        .expect("the input fits into RAM");
    let (mut ring, view) = (ring(&ram, &epoll()), View::of(&ram));
    while let Some(chain) = ring.pop(&view) {
        let mut payload = Vec::new();
        if let Ok(header) = read_packet(chain, &mut payload) {
            assert_eq!(payload.len(), header.len as usize);
        }
        assert!(payload.len() <= MAX_PAYLOAD && payload.capacity() <= 2 * MAX_PAYLOAD);
        // Once more, as a chain to be filled.
        ring.unpop();
        let mut buffers = Buffers::of(ring.pop(&view).expect("it was there"));
        let room = room(&buffers);
        assert!(room <= HEADER_LEN + MAX_PAYLOAD);
        let Some(fits) = room.checked_sub(HEADER_LEN) else {
            continue;
        };
        let header = Header {
            len: u32::try_from(fits).expect("a packet's size"),
            ..Header::default()
        };
        // It fits; whether it is RAM is another question.
        if let Ok(written) = write_packet(&mut buffers, &header, &vec![0xa5; fits]) {
            assert_eq!(written as usize, room);
        }
    }
});
