//! A device's link, by which another thread ends it.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// What attached a device, and speaks vhost-user since then. Its thread holds it until it has let go of everything else: to the other
/// end, its end says that the guest's RAM is written to no more.
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
    /// The other end can send nothing any more, and sees the end once the device's thread is there, or this process is, if the
    /// thread hangs. Not before: it would hand the rings back to QEMU, and the guest that stands still then have its RAM written to.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        // One that is not connected any more ends by itself.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Whether it was dismissed.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use super::*;

    /// A supervisor takes the end of a link for the end of what its device writes.
    #[test]
    fn the_end_is_seen_once_the_device_has_let_go() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours);
        theirs.set_nonblocking(true).unwrap();
        link.dismiss();
        assert!(link.is_dismissed());
        // The device's thread, which waits for what comes, is woken.
        assert_eq!((&mut link.stream()).read(&mut [0]).unwrap(), 0);
        let waits = theirs.read(&mut [0]).unwrap_err();
        assert_eq!(waits.kind(), ErrorKind::WouldBlock);
        assert!(theirs.write(&[0]).is_err());
        drop(link);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }
}
