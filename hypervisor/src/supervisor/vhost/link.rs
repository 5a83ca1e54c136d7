//! A vhost-user connection: messages with descriptors over a Unix stream socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bartizan_local::{recv_with_descriptors, send_with_descriptors};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::{Header, Message, MessageError};

/// One end of a connection.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    buffer: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other end closed it.
    #[error("the other end closed the vhost-user connection")]
    Closed,
    /// It failed.
    #[error("the vhost-user connection failed: {0}")]
    Io(#[from] io::Error),
    /// The other end sent what is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Link {
    /// Over a connected stream.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    /// The next message. Cancel safe.
    pub async fn receive(&mut self) -> Result<Message, LinkError> {
        loop {
            let wanted = match self.buffer.first_chunk::<{ Header::SIZE }>() {
                None => Header::SIZE,
                Some(head) => {
                    let header = Header::parse(*head)?;
                    let most = header.request.most_descriptors();
                    if self.descriptors.len() > most {
                        return Err(MessageError::Descriptors(header.request).into());
                    }
                    let end = Header::SIZE + header.size;
                    if self.buffer.len() == end {
                        let payload = self.buffer.split_off(Header::SIZE);
                        self.buffer.clear();
                        let descriptors = std::mem::take(&mut self.descriptors);
                        return Ok(Message {
                            header,
                            payload,
                            descriptors,
                        });
                    }
                    end
                }
            };
            // Never more than this message: descriptors belong to the message that they came with.
            let mut chunk = [0; Header::SIZE + Header::MAX_PAYLOAD];
            let space = chunk
                .get_mut(..wanted - self.buffer.len())
                .unwrap_or_default();
            self.stream.readable().await?;
            match self.stream.try_io(Interest::READABLE, || {
                recv_with_descriptors(&self.stream, space)
            }) {
                Ok((0, _)) => return Err(LinkError::Closed),
                Ok((size, descriptors)) => {
                    self.buffer
                        .extend_from_slice(space.get(..size).unwrap_or_default());
                    self.descriptors.extend(descriptors);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends nothing any more, and waits until the other end has ended as well. What still comes of it is let go of.
    pub async fn end(mut self) {
        // One that is not connected any more has ended.
        let _ = self.stream.shutdown().await;
        while self.receive().await.is_ok() {}
    }

    /// Sends a message.
    pub async fn send(
        &mut self,
        header: Header,
        payload: &[u8],
        descriptors: &[OwnedFd],
    ) -> Result<(), LinkError> {
        let bytes = [&header.bytes(), payload].concat();
        let mut borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.stream.writable().await?;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                send_with_descriptors(&self.stream, rest, &borrowed)
            });
            match sent {
                Ok(size) => {
                    // They went with the first byte.
                    borrowed.clear();
                    rest = rest.get(size..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::vhost::Request;

    #[tokio::test]
    async fn descriptors_stay_with_their_message() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Link::new(a), Link::new(b));
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let kick = Header::new(Request::SetRingKick, 8);
        a.send(Header::new(Request::SetOwner, 0), &[], &[])
            .await
            .unwrap();
        a.send(kick, &[0; 8], &[file]).await.unwrap();
        assert!(b.receive().await.unwrap().descriptors.is_empty());
        assert_eq!(b.receive().await.unwrap().descriptors.len(), 1);
        drop(a);
        assert!(matches!(b.receive().await, Err(LinkError::Closed)));
    }

    #[tokio::test]
    async fn descriptors_with_a_message_that_has_none_are_refused() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Link::new(a), Link::new(b));
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        a.send(Header::new(Request::SetOwner, 0), &[], &[file])
            .await
            .unwrap();
        let refused = b.receive().await;
        assert!(matches!(
            refused,
            Err(LinkError::Message(MessageError::Descriptors(
                Request::SetOwner
            )))
        ));
    }
}
