//! A device's whole life: QEMU's messages, over the link by which it is attached. The input in pieces: each is sent at once,
//! behind a byte that says which descriptors come with it.
#![no_main]

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bartizan_devices::device::{Attachment, serve};
use bartizan_devices::link::Link;
use bartizan_devices::vsock::{Limits, Services};
use bartizan_fuzz::pieces;
use bartizan_fuzz::vsock::{GUEST, RAM, memfd};
use bartizan_local::send_with_descriptors;
use libfuzzer_sys::fuzz_target;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{SealFlags, fcntl_add_seals};

const MOST_MESSAGES: usize = 64;
/// VHOST_USER_SET_MEM_TABLE.
const MEMORY: u8 = 5;

fuzz_target!(|data: &[u8]| {
    let (theirs, ours) = UnixStream::pair().expect("sockets");
    theirs.set_nonblocking(true).expect("a socket");
    let offered = Offered::new();
    for piece in pieces::split(data).iter().take(MOST_MESSAGES) {
        let Some((selector, message)) = piece.split_first() else {
            break;
        };
        // What has no room is never sent.
        if send_with_descriptors(&theirs, message, &offered.chosen(*selector, message)).is_err() {
            break;
        }
    }
    theirs.shutdown(Shutdown::Write).expect("it is connected");
    // It ends with what was sent, whatever that was.
    let _ = serve(Attachment {
        cid: GUEST,
        services: Services::new(&[]).expect("no service"),
        link: Arc::new(Link::new(ours)),
        journal: None,
        limits: Limits { connections: 4 },
    });
});

/// What may come with a message.
struct Offered {
    ram: OwnedFd,
    event: OwnedFd,
    other: OwnedFd,
}

impl Offered {
    fn new() -> Self {
        let ram = memfd(&[]);
        ram.set_len(RAM as u64).expect("memory");
        fcntl_add_seals(&ram, SealFlags::SHRINK).expect("it may be sealed");
        Self {
            ram: ram.into(),
            event: eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor"),
            other: memfd(&[]).into(),
        }
    }

    /// As many as the selector's low half says; the one that its high half names is of no use.
    fn chosen(&self, selector: u8, message: &[u8]) -> Vec<BorrowedFd<'_>> {
        let right = match message.first() {
            Some(&MEMORY) => &self.ram,
            _ => &self.event,
        };
        let one = |index| {
            let foreign = selector >> 4 == 1 + index;
            if foreign { &self.other } else { right }.as_fd()
        };
        (0..selector & 0xf).map(one).collect()
    }
}
