//! What QEMU says: lines of bounded length, and messages.
#![no_main]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bartizan_hypervisor::qemu::qmp::{LineError, Lines, parse};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};

/// More than most lines of an input have, and less than some.
const LIMIT: usize = 8192;

fuzz_target!(|data: &[u8]| {
    let _ = parse(data);
    let Some((&piece, bytes)) = data.split_first() else {
        return;
    };
    let stream = Dribble {
        rest: bytes,
        piece: 1 + usize::from(piece),
    };
    let mut lines = Lines::new(stream, LIMIT);
    let mut read = Vec::new();
    loop {
        match now(lines.next()) {
            Ok(line) => {
                assert!(line.len() <= LIMIT + 4096 && !line.contains(&b'\n'));
                let _ = parse(&line);
                read.extend(line);
                read.push(b'\n');
            }
            Err(LineError::Closed) => {
                let whole = bytes
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                assert_eq!(read, bytes[..whole]);
                break;
            }
            Err(_) => break,
        }
    }
    assert!(bytes.starts_with(&read));
});

/// What a future that never waits comes to.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("bytes are there, and yet it waits"),
    }
}

/// A stream that comes in small pieces.
struct Dribble<'d> {
    rest: &'d [u8],
    piece: usize,
}

impl AsyncRead for Dribble<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = self.rest.len().min(self.piece).min(into.remaining());
        let (now, later) = self.rest.split_at(size);
        into.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}
