//! The serial console: its newest output in memory, all of it in a log that is kept small.

mod log;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::watchdog::{LONGEST_MARK, shows_life};
use log::Log;

/// Bytes of output kept in memory.
const RING: usize = 256 << 10;

/// A guest's console, across the attempts of its boot.
#[derive(Debug)]
pub struct Console {
    kept: Mutex<Kept>,
    activity: watch::Sender<Activity>,
}

/// What the console has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activity {
    /// When it last said something.
    pub last_output: Instant,
    /// Whether it showed that the guest has booted.
    pub booted: bool,
}

#[derive(Debug)]
struct Kept {
    ring: VecDeque<u8>,
    log: Log,
}

impl Console {
    /// A console whose log is at `path`.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        let kept = Kept {
            ring: VecDeque::new(),
            log: Log::open(path)?,
        };
        let (activity, _) = watch::channel(Activity {
            last_output: Instant::now(),
            booted: false,
        });
        Ok(Self {
            kept: Mutex::new(kept),
            activity,
        })
    }

    /// The newest bytes, at most `max`.
    #[must_use]
    pub fn tail(&self, max: usize) -> Vec<u8> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = kept.ring.len().saturating_sub(max);
        kept.ring.iter().skip(skipped).copied().collect()
    }

    /// What it shows, from now on.
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }

    /// Begins anew to look for signs of life: another attempt.
    pub fn restart(&self) {
        self.activity.send_replace(Activity {
            last_output: Instant::now(),
            booted: false,
        });
    }

    /// Reads QEMU's end of the serial port until it closes: always, so that no guest waits for its
    /// console.
    pub async fn drain(&self, mut port: UnixStream) {
        let mut chunk = [0; 4096];
        // The end of what was read before: a mark may be split.
        let mut seen: Vec<u8> = Vec::new();
        while let Ok(size @ 1..) = port.read(&mut chunk).await {
            let bytes = chunk.get(..size).unwrap_or_default();
            seen.extend_from_slice(bytes);
            self.keep(bytes, shows_life(&seen));
            let old = seen.len().saturating_sub(LONGEST_MARK);
            seen.drain(..old);
        }
    }

    fn keep(&self, bytes: &[u8], booted: bool) {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.ring.extend(bytes);
            let old = kept.ring.len().saturating_sub(RING);
            kept.ring.drain(..old);
            kept.log.write(bytes);
        }
        self.activity.send_modify(|activity| {
            activity.last_output = Instant::now();
            activity.booted |= booted;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn marks_are_found_across_reads_and_memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let console = Console::new(folder.path().join("console.log")).unwrap();
        let activity = console.activity();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let write = async {
            theirs.write_all(b"Run /init as in").await.unwrap();
            tokio::task::yield_now().await;
            theirs.write_all(b"it process\r\n").await.unwrap();
            theirs.write_all(&vec![b'x'; 2 * RING]).await.unwrap();
            drop(theirs);
        };
        tokio::join!(console.drain(ours), write);
        assert!(activity.borrow().booted);
        assert_eq!(console.tail(usize::MAX).len(), RING);
        assert_eq!(console.tail(3), b"xxx");
    }
}
