//! What a child prints to its standard error: logged up to a bound, its end kept for error messages.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Bytes that are logged of one kind of child in one attempt of a boot: they are hostile, and the log's disk is the host's.
const LOGGED: usize = 64 << 10;
/// Bytes kept of the end.
const TAIL: usize = 2 << 10;

/// How much is still logged of the children of one kind, of which one follows another.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<AtomicUsize>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(LOGGED)))
    }
}

impl Allowance {
    /// Whether so many bytes are still logged, and whether they are the last.
    fn spend(&self, size: usize) -> (bool, bool) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(size), Ordering::Relaxed);
        (left > 0, left > 0 && left <= size)
    }
}

/// Listens to one child.
#[derive(Debug)]
pub struct Chatter {
    tail: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Chatter {
    /// Listens to `stream` in the name of `who`.
    pub fn listen(who: &'static str, stream: StdStream, log: Allowance) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let tail = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(listen(
            who,
            UnixStream::from_std(stream)?,
            Arc::clone(&tail),
            log,
        ));
        Ok(Self { tail, task })
    }

    /// The end of what a child that has ended printed, on one line.
    pub async fn last_words(&mut self) -> String {
        // All of it is in the socket's buffer already: this is no wait for the child.
        let _ = timeout(Duration::from_secs(1), &mut self.task).await;
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&tail)
            .trim()
            .replace(|c: char| c.is_control(), " ")
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    who: &'static str,
    mut stream: UnixStream,
    tail: Arc<Mutex<Vec<u8>>>,
    log: Allowance,
) {
    let mut chunk = [0; 4096];
    while let Ok(size @ 1..) = stream.read(&mut chunk).await {
        let bytes = chunk.get(..size).unwrap_or_default();
        let (logged, last) = log.spend(size);
        if logged {
            tracing::info!(who, "{}", String::from_utf8_lossy(bytes).trim_end());
        }
        if last {
            tracing::warn!(who, "has printed {LOGGED} bytes; the rest is not logged");
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let old = tail.len().saturating_sub(TAIL);
        tail.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn children_that_follow_one_another_have_one_allowance() {
        let first = Allowance::default();
        assert_eq!(first.spend(LOGGED - 1), (true, false));
        let next = first.clone();
        assert_eq!(next.spend(4096), (true, true));
        assert_eq!(next.spend(1), (false, false));
    }

    #[tokio::test]
    async fn last_words_are_bounded_and_on_one_line() {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        let mut chatter = Chatter::listen("test", ours, Allowance::default()).unwrap();
        theirs.write_all(&[b'x'; 3 * TAIL]).unwrap();
        theirs.write_all(b"\nthe end\n").unwrap();
        drop(theirs);
        let words = chatter.last_words().await;
        assert!(words.len() <= TAIL && words.ends_with("x the end"));
    }
}
