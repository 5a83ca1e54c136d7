//! Frames over tokio's streams, and what moves bytes between two of them.

use std::io;
use std::time::Duration;

use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

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

/// Bytes of one way that are moved at once.
const PIECE: usize = 16 << 10;

/// Moves bytes both ways until one end is done, or has taken nothing of what waits for it for so long.
///
/// Known attacks: the other end never is done, and where half a connection stays open no next one begins; an end takes nothing, and
/// for as long as it does nobody hears what the other has to say, that it is done among it.
pub async fn until_either_ends(
    one: &mut (impl AsyncRead + AsyncWrite + Unpin),
    other: &mut (impl AsyncRead + AsyncWrite + Unpin),
    patience: Duration,
) {
    let ((from_one, to_one), (from_other, to_other)) = (split(one), split(other));
    tokio::select! {
        _ = move_one_way(from_one, to_other, patience) => {}
        _ = move_one_way(from_other, to_one, patience) => {}
    }
}

async fn move_one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    patience: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let size = from.read(&mut buffer).await?;
        let mut rest = buffer.get(..size).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let taken = timeout(patience, to.write(rest)).await??;
            match rest.get(taken..) {
                Some(left) if taken > 0 => rest = left,
                _ => return Err(io::ErrorKind::WriteZero.into()),
            }
        }
        timeout(patience, to.flush()).await??;
    }
}

#[cfg(test)]
mod tests;
