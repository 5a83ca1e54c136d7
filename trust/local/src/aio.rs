//! Frames over tokio's streams, and what moves bytes between two of them.

use std::io;

use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};

use crate::frame::{AHEAD, FrameError, checked_size, decode, framed};

/// Writes one frame of at most `limit` bytes.
pub async fn write_frame<M: Encode<()>>(
    link: &mut (impl AsyncWrite + Unpin),
    message: &M,
    limit: usize,
) -> Result<(), FrameError> {
    link.write_all(&framed(message, limit)?).await?;
    Ok(link.flush().await?)
}

/// Reads one frame of at most `limit` bytes. Not cancel safe: a frame half read is lost.
pub async fn read_frame<M: Encode<()> + for<'b> Decode<'b, ()>>(
    link: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<M, FrameError> {
    let mut head = [0; 4];
    match link.read(&mut head).await? {
        0 => return Err(FrameError::Closed),
        n => {
            link.read_exact(head.get_mut(n..).unwrap_or_default())
                .await?;
        }
    }
    let size = checked_size(head, limit)?;
    let mut bytes = Vec::with_capacity(size.min(AHEAD));
    if link.take(size as u64).read_to_end(&mut bytes).await? != size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(&bytes)
}

/// Moves bytes both ways until one end is done.
///
/// Known attack: the other end never is, and where half a connection stays open no next one begins.
pub async fn until_either_ends(
    one: &mut (impl AsyncRead + AsyncWrite + Unpin),
    other: &mut (impl AsyncRead + AsyncWrite + Unpin),
) {
    let ((mut from_one, mut to_one), (mut from_other, mut to_other)) = (split(one), split(other));
    tokio::select! {
        _ = copy(&mut from_one, &mut to_other) => {}
        _ = copy(&mut from_other, &mut to_one) => {}
    }
}
