//! The log of both programs: lines on standard error, JSON on request.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Most bytes that a supervisor logs in its boot: what it logs, its guest can cause.
pub const OF_A_BOOT: u64 = 8 << 20;

/// Begins to log; `most` bytes at the most, or without an end.
pub fn init(json: bool, most: Option<u64>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Bounded::new(io::stderr, most.unwrap_or(u64::MAX)));
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
}

/// Writes so many bytes, says that it ends, and drops what comes then.
struct Bounded<T> {
    to: T,
    left: AtomicU64,
}

impl<T> Bounded<T> {
    const fn new(to: T, most: u64) -> Self {
        Self {
            to,
            left: AtomicU64::new(most),
        }
    }
}

/// A line, written as far as there is room.
struct Line<'a, W> {
    to: W,
    left: &'a AtomicU64,
}

impl<'a, W: Write, T: Fn() -> W + 'a> MakeWriter<'a> for Bounded<T> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            to: (self.to)(),
            left: &self.left,
        }
    }
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let size = line.len() as u64;
        let spend = |left: u64| Some(left.saturating_sub(size));
        let left = (self.left)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .unwrap_or_default();
        if left >= size {
            self.to.write_all(line)?;
        } else if left > 0 {
            self.to
                .write_all(b"this boot has logged as much as it may; the rest is dropped\n")?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_ends_at_its_bound_and_says_so_once() {
        let kept = Kept::default();
        let to = kept.clone();
        let log = Bounded::new(move || to.clone(), 25);
        for _ in 0..1000 {
            log.make_writer().write_all(b"ten bytes\n").unwrap();
        }
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("ten bytes").count(), 2);
        assert_eq!(text.matches("dropped").count(), 1);
        assert!(text.ends_with("dropped\n"));
    }
}
