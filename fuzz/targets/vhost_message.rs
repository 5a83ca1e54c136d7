//! vhost-user messages of QEMU's, and what is remembered of them. The input in pieces: each a message, behind a byte
//! that says which descriptors come with it.
#![no_main]

use std::os::fd::{AsFd, OwnedFd};

use bartizan_fuzz::pieces;
use bartizan_fuzz::vsock::memfd;
use bartizan_hypervisor::supervisor::vhost::{Header, Message, Recorded};
use libfuzzer_sys::fuzz_target;

const MOST_MESSAGES: usize = 64;

fuzz_target!(|data: &[u8]| {
    let (ram, other) = (memfd(&[0x5a; 64]), memfd(&[]));
    let mut recorded = Recorded::default();
    for piece in pieces::split(data).iter().take(MOST_MESSAGES) {
        let Some(mut message) = message(piece, &ram, &other) else {
            return;
        };
        round_trips(&message);
        // As the relay does: what cannot be recorded ends the connection.
        if recorded.record(&mut message, &ram).is_err() {
            return;
        }
        if let Ok(Some(answer)) = recorded.answer(&message) {
            assert!(answer.header.reply && answer.header.request == message.header.request);
            assert_eq!(answer.header.size, answer.payload.len());
        }
    }
    if let Ok(repeated) = recorded.repeat() {
        assert!(repeated.len() < 4096);
    }
    for ring in 0..=u8::MAX {
        let _ = recorded.position(ring);
    }
});

/// A message as it is received: bounded, with no more descriptors than its request has.
fn message(piece: &[u8], ram: impl AsFd, other: impl AsFd) -> Option<Message> {
    let (&selector, bytes) = piece.split_first()?;
    let (head, payload) = bytes.split_first_chunk()?;
    let header = Header::parse(*head).ok()?;
    assert!(header.size <= Header::MAX_PAYLOAD);
    assert_eq!(Header::parse(header.bytes()), Ok(header));
    let count = usize::from(selector & 0xf).min(header.request.most_descriptors());
    let descriptor = |index: usize| -> OwnedFd {
        let foreign = usize::from(selector >> 4) == 1 + index;
        let file = if foreign { other.as_fd() } else { ram.as_fd() };
        file.try_clone_to_owned().expect("a descriptor")
    };
    Some(Message {
        header,
        payload: payload.get(..header.size)?.to_vec(),
        descriptors: (0..count).map(descriptor).collect(),
    })
}

fn round_trips(message: &Message) {
    if let Ok(ring) = message.ring() {
        assert_eq!(ring.bytes(), message.payload);
    }
    if let Ok(addresses) = message.ring_addresses() {
        assert_eq!(addresses.bytes(), message.payload);
    }
}
