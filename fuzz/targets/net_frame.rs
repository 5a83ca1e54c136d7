//! Frames of guests with the headers before them: twelve bytes of header, the rest is the frame.
#![no_main]

use bartizan_devices::net::header::{HEADER_LEN, Header, feature};
use bartizan_devices::net::packet::Packet;
use libfuzzer_sys::fuzz_target;

const MTU: u16 = 1500;

fuzz_target!(|data: &[u8]| {
    let Some((header, frame)) = data.split_first_chunk::<HEADER_LEN>() else {
        return;
    };
    let header = Header::from_bytes(header);
    let Ok(packet) = Packet::new(&header, frame.to_vec(), feature::OFFERED, MTU) else {
        return;
    };
    // What the receiver gets is true of the frame.
    let passed = packet.work.header(&packet.frame);
    let end = packet.frame.ip().map_or(frame.len(), |ip| ip.end);
    assert!(end <= frame.len());
    assert!(usize::from(passed.sum_from) + usize::from(passed.sum_at) <= end);
    assert!(usize::from(passed.header_len) <= end);
    let again = Packet::new(&passed, packet.bytes.clone(), feature::OFFERED, MTU);
    assert_eq!(again.expect("what was passed on is true"), packet);
    let _ = packet.fit(0);
});
