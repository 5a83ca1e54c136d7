//! A device's link, by which another thread ends it.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// What attached a device, and speaks vhost-user since then. Its thread holds it until it has let go of everything else.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    is_dismissed: AtomicBool,
}

impl Link {
    /// By ending, on either side, it detaches the device.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            is_dismissed: AtomicBool::new(false),
        }
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Has the device end. It moves no packet any more but those of the turn that it is in.
    ///
    /// The other end is told at once, so that it does not wait for a device whose thread hangs.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        // One that is not connected any more ends by itself.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether it was dismissed.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Acquire)
    }
}
