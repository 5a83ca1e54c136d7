//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Splits a stream into lines, holding at most one line of `limit` bytes and one read.
#[derive(Debug)]
pub struct Lines<R> {
    stream: R,
    limit: usize,
    buffer: Vec<u8>,
}

/// No further line can be had.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The stream ended.
    #[error("the stream ended")]
    Closed,
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    /// A line is longer than the limit.
    #[error("a line exceeds the limit of {0} bytes")]
    TooLong(usize),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(stream: R, limit: usize) -> Self {
        Self {
            stream,
            limit,
            buffer: Vec::new(),
        }
    }

    /// The next line, without its end. Cancel safe.
    pub async fn next(&mut self) -> Result<Vec<u8>, LineError> {
        let mut searched = 0;
        loop {
            let unsearched = self.buffer.get(searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(searched + at);
                return Ok(line);
            }
            searched = self.buffer.len();
            if searched > self.limit {
                return Err(LineError::TooLong(self.limit));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await? {
                0 => return Err(LineError::Closed),
                size => self
                    .buffer
                    .extend_from_slice(chunk.get(..size).unwrap_or_default()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_split_and_bounded() {
        let mut lines = Lines::new(&b"one\r\ntwo\n\nthree"[..], 8);
        assert_eq!(lines.next().await.unwrap(), b"one\r");
        assert_eq!(lines.next().await.unwrap(), b"two");
        assert_eq!(lines.next().await.unwrap(), b"");
        assert!(matches!(lines.next().await, Err(LineError::Closed)));
        let endless = vec![b'x'; 1 << 20];
        let mut lines = Lines::new(endless.as_slice(), 8192);
        assert!(matches!(lines.next().await, Err(LineError::TooLong(8192))));
        assert!(lines.buffer.len() <= 8192 + 4096);
    }
}
