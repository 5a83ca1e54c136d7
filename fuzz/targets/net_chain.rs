//! Frames in descriptor chains: the input is a guest's RAM, with one ring in it.
#![no_main]

use bartizan_devices::net::header::feature;
use bartizan_devices::net::packet::{MAX_FRAME, Packet};
use bartizan_fuzz::vsock::{RAM, queue};
use libfuzzer_sys::fuzz_target;
use virtio_queue::QueueOwnedT;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

fuzz_target!(|data: &[u8]| {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM)]).expect("RAM");
    let bytes = data.get(..RAM).unwrap_or(data);
    ram.write_slice(bytes, GuestAddress(0))
        .expect("the input fits into RAM");
    let mut queue = queue(&ram);
    let Ok(chains) = queue.iter(&ram) else {
        return;
    };
    for chain in chains {
        if let Ok(packet) = Packet::read(&ram, chain, feature::OFFERED, 1500) {
            assert!(packet.bytes.len() <= MAX_FRAME);
        }
    }
});
