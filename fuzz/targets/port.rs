//! Frames of a virtio-serial port, as its other end writes them. The first byte says in which pieces they come, and how much data is
//! taken at once: neither may change what is understood.
#![no_main]

use bartizan_local::port::{ConnectionId, Event, Head, Incoming, MAX_DATA, PortError};
use libfuzzer_sys::fuzz_target;

/// What was understood. Where a frame ends is told to nobody: data of one connection that follows upon data is one.
#[derive(PartialEq, Eq, Debug)]
enum Heard {
    Open(ConnectionId),
    Data(ConnectionId, Vec<u8>),
    Close(ConnectionId),
}

fuzz_target!(|data: &[u8]| {
    let Some((&pieces, bytes)) = data.split_first() else {
        return;
    };
    let size = usize::from(pieces % 16) + 1;
    let whole = read([bytes].into_iter(), usize::MAX);
    assert_eq!(read(bytes.chunks(size), size), whole);
    // Written again, it is understood in the same way.
    let again = written(&whole.0);
    assert_eq!(read([&again[..]].into_iter(), usize::MAX), (whole.0, None));
});

/// All that is understood, up to what ends the port.
fn read<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
    most: usize,
) -> (Vec<Heard>, Option<PortError>) {
    let (mut incoming, mut all) = (Incoming::default(), Vec::new());
    for mut bytes in pieces {
        loop {
            match incoming.next(&mut bytes, most) {
                Ok(Some(event)) => hear(&mut all, event, most),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
        assert!(bytes.is_empty(), "something was not looked at");
    }
    (all, None)
}

fn hear(all: &mut Vec<Heard>, event: Event<'_>, most: usize) {
    match (event, all.last_mut()) {
        (Event::Data(id, data), last) => {
            assert!((1..=most).contains(&data.len()));
            match last {
                Some(Heard::Data(of, known)) if *of == id => known.extend_from_slice(data),
                _ => all.push(Heard::Data(id, data.to_vec())),
            }
        }
        (Event::Open(id), _) => all.push(Heard::Open(id)),
        (Event::Close(id), _) => all.push(Heard::Close(id)),
    }
}

fn written(all: &[Heard]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for heard in all {
        match heard {
            Heard::Open(id) => bytes.extend(Head::Open(*id).to_bytes()),
            Heard::Close(id) => bytes.extend(Head::Close(*id).to_bytes()),
            Heard::Data(id, data) => {
                for frame in data.chunks(MAX_DATA.into()) {
                    let length = u16::try_from(frame.len())
                        .ok()
                        .and_then(|length| length.try_into().ok());
                    bytes.extend(Head::Data(*id, length.expect("some, and few")).to_bytes());
                    bytes.extend_from_slice(frame);
                }
            }
        }
    }
    bytes
}
