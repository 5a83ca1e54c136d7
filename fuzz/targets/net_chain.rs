//! Frames in descriptor chains: the input is a guest's RAM, with one ring in it.
#![no_main]

use bartizan_devices::net::Spares;
use bartizan_devices::net::header::feature;
use bartizan_devices::net::packet::{MAX_FRAME, Packet};
use bartizan_devices::vhost_user::{Memory, View};
use bartizan_fuzz::vsock::{RAM, epoll, ring};
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};

fuzz_target!(|data: &[u8]| {
    let ram = Memory::from_ranges(&[(GuestAddress(0), RAM)]).expect("RAM");
    let bytes = data.get(..RAM).unwrap_or(data);
    ram.write_slice(bytes, GuestAddress(0))
        .expect("the input fits into RAM");
    let (mut ring, view) = (ring(&ram, &epoll()), View::of(&ram));
    let mut spares = Spares::default();
    while let Some(chain) = ring.pop(&view) {
        if let Ok(packet) = Packet::read(chain, feature::OFFERED, 1500, &mut spares) {
            assert!(packet.bytes.len() <= MAX_FRAME);
            spares.keep(packet);
        }
    }
});
