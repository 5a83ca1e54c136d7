//! A port's device, `/dev/vport0p1`: a character device that is read and written without waiting.
#![expect(unsafe_code, reason = "tokio cannot tell that a descriptor stays open")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::OFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The device, as tokio's stream.
#[derive(Debug)]
pub struct Device(AsyncFd<File>);

impl Device {
    /// Opens it, which the kernel lets one process do at a time. To be called in a runtime.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        // SAFETY: the file is dropped with what watches it, and is never replaced: nobody has it mutably.
        let watched = unsafe { AsyncFd::register(file) };
        watched.map(Self).map_err(Into::into)
    }
}

impl AsyncRead for Device {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            match ready.try_io(|device| device.get_ref().read(into.initialize_unfilled())) {
                Ok(size) => return Poll::Ready(size.map(|size| into.advance(size))),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Device {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            if let Ok(written) = ready.try_io(|device| device.get_ref().write(bytes)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
