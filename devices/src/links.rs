//! A device's two links, by which another thread ends it.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a device is attached by. Its thread holds them until it has let go of everything else.
#[derive(Debug)]
pub struct Links {
    control: UnixStream,
    qemu: UnixStream,
    is_dismissed: AtomicBool,
}

impl Links {
    /// `control` attached the device, and by ending, on either side, detaches it; `qemu` speaks vhost-user.
    #[must_use]
    pub fn new(control: UnixStream, qemu: UnixStream) -> Self {
        Self {
            control,
            qemu,
            is_dismissed: AtomicBool::new(false),
        }
    }

    /// The connection that attached the device.
    #[must_use]
    pub fn control(&self) -> &UnixStream {
        &self.control
    }

    /// The link that speaks vhost-user.
    #[must_use]
    pub fn qemu(&self) -> &UnixStream {
        &self.qemu
    }

    /// Has the device end. It moves no packet any more but those of the turn that it is in.
    ///
    /// Both ends are told, so that none waits for a device that is gone, even where its thread hangs.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        for link in [&self.control, &self.qemu] {
            // One that is not connected any more ends by itself.
            let _ = link.shutdown(Shutdown::Both);
        }
    }

    /// Whether it was dismissed.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Acquire)
    }
}
