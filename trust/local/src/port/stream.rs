//! A port's connections as streams, in tokio.
//!
//! ```text
//! inside   Port::opening    open()    ──► Connection        the next one ends it, for whoever still has it
//! outside  Port::answering  accept()  ──► Connection        likewise
//! ```
//!
//! A connection that is dropped is closed; its last frame, which may be half written, is finished before anything else is said.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{ConnectionId, Event, HEAD, Head, Incoming, MAX_DATA};

/// One end of a port, on a device or socket `T`.
pub struct Port<T>(Arc<Mutex<End<T>>>);

/// One connection of a port. Whoever reads it to its end, or is refused a write, has lost it.
pub struct Connection<T: AsyncRead + AsyncWrite + Unpin> {
    end: Arc<Mutex<End<T>>>,
    id: ConnectionId,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    /// Opens connections.
    Inside,
    /// Answers them.
    Outside,
}

struct End<T> {
    device: T,
    side: Side,
    incoming: Incoming,
    /// What was read and not yet looked at.
    read: Vec<u8>,
    looked: usize,
    /// What is to be written, a frame and some heads at most.
    out: Vec<u8>,
    written: usize,
    present: Option<ConnectionId>,
    /// Outside: was opened and waits to be accepted.
    offered: Option<ConnectionId>,
    last: ConnectionId,
    /// Who waits for bytes of the present connection.
    waiting: Option<Waker>,
    /// The peer spoke another protocol, or the device has ended.
    broken: bool,
}

/// Most that may wait to be written while more is read, in bytes: a frame, and heads.
const UNSAID: usize = HEAD + MAX_DATA as usize + 64 * HEAD;
/// How much is read at once.
const READ: usize = 16 << 10;

impl<T: AsyncRead + AsyncWrite + Unpin> Port<T> {
    /// The end inside the machine.
    pub fn opening(device: T) -> Self {
        Self::new(device, Side::Inside)
    }

    /// The end outside.
    pub fn answering(device: T) -> Self {
        Self::new(device, Side::Outside)
    }

    fn new(device: T, side: Side) -> Self {
        Self(Arc::new(Mutex::new(End {
            device,
            side,
            incoming: Incoming::default(),
            read: Vec::new(),
            looked: 0,
            out: Vec::new(),
            written: 0,
            present: None,
            offered: None,
            last: 0,
            waiting: None,
            broken: false,
        })))
    }

    /// Opens a connection, and ends the one before it. Nobody says whether it was answered: one that was not is at its end.
    ///
    /// # Errors
    ///
    /// The device's: the port is of no use any more.
    pub async fn open(&mut self) -> io::Result<Connection<T>> {
        let id = {
            let mut end = lock(&self.0);
            end.leave();
            end.last = end.last.wrapping_add(1);
            let id = end.last;
            end.out.extend(Head::Open(id).to_bytes());
            end.present = Some(id);
            id
        };
        let end = Arc::clone(&self.0);
        let connection = Connection { end, id };
        self.flush().await?;
        Ok(connection)
    }

    /// Waits until a connection is opened, and takes it; the one before it ends now. Cancel safe.
    ///
    /// # Errors
    ///
    /// The device's, or the peer speaks another protocol: the port is of no use any more.
    pub async fn accept(&mut self) -> io::Result<Connection<T>> {
        let id = poll_fn(|context| {
            let mut end = lock(&self.0);
            if let Some(id) = end.present {
                end.close(id);
            }
            // What former connections left unsaid. A peer that opens others without end and reads nothing is held up.
            match end.poll_flush(context) {
                Poll::Pending if end.out.len() > UNSAID => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                _ => {}
            }
            loop {
                if let Some(id) = end.offered.take() {
                    end.leave();
                    end.present = Some(id);
                    return Poll::Ready(Ok(id));
                }
                ready!(end.poll_events(context, &mut ReadBuf::new(&mut [])))?;
            }
        });
        let id = id.await?;
        let end = Arc::clone(&self.0);
        Ok(Connection { end, id })
    }

    /// Writes what connections that are gone left unsaid.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| lock(&self.0).poll_flush(context)).await
    }
}

impl<T> fmt::Debug for Port<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Port")
    }
}

impl<T> End<T> {
    /// Ends the present connection, unsaid: what is said next says it.
    fn leave(&mut self) {
        self.present = None;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if self.present == Some(id) {
            self.leave();
            self.out.extend(Head::Close(id).to_bytes());
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> End<T> {
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.device).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                size => self.written += size,
            }
        }
        self.out.clear();
        self.written = 0;
        Pin::new(&mut self.device).poll_flush(context)
    }

    /// Takes what came until there is something: data of the present connection, in `into`; its end; one that is offered. Data of
    /// the present connection is never lost: where `into` has no place for it, that is something too.
    fn poll_events(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = self.read.get(self.looked..).unwrap_or_default();
            let before = bytes.len();
            // Data of others is dropped, in whatever pieces.
            let most = match (self.present, into.remaining()) {
                (None, _) => usize::MAX,
                (Some(_), most) => most,
            };
            let event = self.incoming.next(&mut bytes, most);
            self.looked += before - bytes.len();
            match event {
                Err(error) => {
                    self.broken = true;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                Ok(Some(Event::Data(id, data))) if self.present == Some(id) => {
                    into.put_slice(data);
                    return Poll::Ready(Ok(()));
                }
                Ok(Some(Event::Data(..))) => {}
                Ok(Some(Event::Close(id))) => {
                    self.offered.take_if(|offered| *offered == id);
                    if self.present == Some(id) {
                        self.leave();
                        return Poll::Ready(Ok(()));
                    }
                }
                Ok(Some(Event::Open(id))) if self.side == Side::Outside => {
                    self.offered = Some(id);
                    self.leave();
                    return Poll::Ready(Ok(()));
                }
                Ok(Some(Event::Open(_))) => {
                    self.broken = true;
                    let what = "the end outside opened a connection";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                Ok(None) if !bytes.is_empty() => return Poll::Ready(Ok(())),
                Ok(None) => ready!(self.poll_more(context))?,
            }
        }
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.read.resize(READ, 0);
        let mut buffer = ReadBuf::new(&mut self.read);
        let polled = Pin::new(&mut self.device).poll_read(context, &mut buffer);
        let size = buffer.filled().len();
        self.read.truncate(size);
        self.looked = 0;
        match polled {
            Poll::Pending => {
                self.waiting = Some(context.waker().clone());
                Poll::Pending
            }
            // A port has no end as long as its machine runs.
            Poll::Ready(Ok(())) if size == 0 => {
                self.broken = true;
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            ready => ready,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut end = lock(&self.end);
        let before = into.filled().len();
        while end.present == Some(self.id) && into.filled().len() == before {
            if into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(end.poll_events(context, into))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut end = lock(&self.end);
        if end.present != Some(self.id) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // One frame at a time: what waits is bounded, and who writes is held up by the device.
        ready!(end.poll_flush(context))?;
        let size = bytes.len().min(MAX_DATA.into());
        let (data, length) = (bytes.get(..size), u16::try_from(size).ok());
        let (Some(data), Some(length)) = (data, length.and_then(NonZeroU16::new)) else {
            return Poll::Ready(Ok(0));
        };
        end.out.extend(Head::Data(self.id, length).to_bytes());
        end.out.extend_from_slice(data);
        // It is taken, whether or not all of it goes now.
        match end.poll_flush(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(size)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.end).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut end = lock(&self.end);
        end.close(self.id);
        end.poll_flush(context)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Drop for Connection<T> {
    fn drop(&mut self) {
        lock(&self.end).close(self.id);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.id)
    }
}

fn lock<T>(end: &Mutex<End<T>>) -> MutexGuard<'_, End<T>> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
