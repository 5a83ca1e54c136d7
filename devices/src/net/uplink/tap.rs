//! Frames and their headers, as the kernel hands them over: one a call.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::net::header::{HEADER_LEN, Header};
use crate::net::packet::MAX_FRAME;

/// The kernel has looked at the checksum (`VIRTIO_NET_HDR_F_DATA_VALID`), which is as good as that it was not told of any.
const CHECKED: u8 = 2;

/// After how many reads in a row that have failed it waits, and how long, so that one that always fails costs no processor.
const MOST_FAILURES: u32 = 1024;
const PAUSE: Duration = Duration::from_millis(100);

/// An open TAP device (`IFF_TAP`, `IFF_NO_PI`, `IFF_VNET_HDR` with headers of version 1), nonblocking.
#[derive(Debug)]
pub struct Tap {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
    /// Reads that have failed since the last frame.
    failures: u32,
}

impl Tap {
    /// Of its descriptor.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        Self {
            descriptor,
            // One byte more than fits: what fills it is too long.
            buffer: vec![0; HEADER_LEN + MAX_FRAME + 1],
            failures: 0,
        }
    }

    /// The next frame with its header, if there is one. One that the kernel cannot hand over is empty.
    ///
    /// Known attack: somebody outside sends what the kernel has no header for (linux/virtio_net.h, `virtio_net_hdr_from_skb`), the read of
    /// it fails, and with that the uplink. Only what says that the device is gone ends it.
    pub(super) fn receive(&mut self) -> io::Result<Option<(Header, &[u8])>> {
        let size = loop {
            match rustix::io::read(&self.descriptor, &mut self.buffer) {
                Ok(size) => break size,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error @ (Errno::BADF | Errno::BADFD | Errno::IO)) => return Err(error.into()),
                Err(_) => {
                    self.failures += 1;
                    if self.failures.is_multiple_of(MOST_FAILURES) {
                        std::thread::sleep(PAUSE);
                    }
                    return Ok(Some((Header::default(), &[])));
                }
            }
        };
        self.failures = 0;
        let read = self.buffer.get(..size).unwrap_or_default();
        let Some((header, frame)) = read.split_first_chunk::<HEADER_LEN>() else {
            // No header, no frame: as an empty one it is refused like any.
            return Ok(Some((Header::default(), &[])));
        };
        let mut header = Header::from_bytes(header);
        header.flags &= !CHECKED;
        Ok(Some((header, frame)))
    }

    /// Hands a frame over with its header; returns whether it was taken.
    pub(super) fn send(&self, header: &Header, frame: &[u8]) -> bool {
        let header = header.to_bytes(0);
        let parts = [IoSlice::new(&header), IoSlice::new(frame)];
        loop {
            match rustix::io::writev(&self.descriptor, &parts) {
                Err(Errno::INTR) => {}
                sent => return sent.is_ok(),
            }
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
