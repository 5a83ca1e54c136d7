//! What a guest's thread has for a reader's, within bounds.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bartizan_local::observation::{CapturedPacket, FlowRecord, ObservationEnd};

/// Most that waits for a reader.
const MOST: usize = 4096;
const MOST_BYTES: usize = 4 << 20;

/// Something that takes room.
pub trait Weighs {
    /// Bytes of a packet that it holds.
    fn bytes(&self) -> usize;
}

impl Weighs for CapturedPacket {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl Weighs for FlowRecord {
    fn bytes(&self) -> usize {
        0
    }
}

/// A feed. Its two ends hold its lock for a moment.
#[derive(Debug)]
pub struct Feed<T> {
    /// Nothing is put in from then on.
    until: Instant,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    has_begun: bool,
    waiting: VecDeque<T>,
    waiting_bytes: usize,
    /// How many may still be put in, and how many bytes of them.
    left: (u64, u64),
    /// How many had no room since this was looked at last.
    dropped: u64,
    end: Option<ObservationEnd>,
}

/// What a reader finds.
#[derive(Debug)]
pub struct Found<T> {
    /// In order.
    pub items: Vec<T>,
    /// How many had no room since the last time.
    pub dropped: u64,
    /// Nothing comes any more, and why.
    pub end: Option<ObservationEnd>,
}

impl<T: Weighs> Feed<T> {
    /// An empty one, that is over after so many items and so many bytes, or then.
    #[must_use]
    pub fn new(items: u64, bytes: u64, until: Instant) -> Self {
        Self {
            until,
            state: Mutex::new(State {
                has_begun: false,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                left: (items, bytes),
                dropped: 0,
                end: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Puts something in. Where there is no room it is counted, and made in vain no more than it has to be.
    pub fn put(&self, bytes: usize, item: impl FnOnce() -> T) {
        let mut state = self.lock();
        if state.end.is_some() || self.is_late() {
            return;
        }
        if state.waiting.len() >= MOST || state.waiting_bytes.saturating_add(bytes) > MOST_BYTES {
            state.dropped += 1;
            return;
        }
        let was_empty = state.waiting.is_empty();
        let item = item();
        state.waiting_bytes += item.bytes();
        let (items, bytes) = &mut state.left;
        *items = items.saturating_sub(1);
        *bytes = bytes.saturating_sub(item.bytes() as u64);
        let (items, bytes) = state.left;
        state.waiting.push_back(item);
        if items == 0 {
            state.end = Some(ObservationEnd::Packets);
        } else if bytes == 0 {
            state.end = Some(ObservationEnd::Bytes);
        }
        if was_empty || state.end.is_some() {
            self.changed.notify_one();
        }
    }

    /// From now on things are put in.
    pub fn begin(&self) {
        self.lock().has_begun = true;
        self.changed.notify_one();
    }

    /// Waits until then for it to begin, or to be over; whether it has.
    pub fn wait_for_begin(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let waits = |state: &mut State<T>| !state.has_begun && state.end.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), left, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.has_begun
    }

    /// Nothing comes any more, unless that was so before.
    pub fn end(&self, why: ObservationEnd) {
        self.lock().end.get_or_insert(why);
        self.changed.notify_one();
    }

    /// Whether something may still be put in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().end.is_none() && !self.is_late()
    }

    /// Waits for something, until then; takes all that there is. Where nothing comes any more, that is the last of it.
    pub fn take(&self, until: Instant) -> Found<T> {
        let left = until
            .min(self.until)
            .saturating_duration_since(Instant::now());
        let waits = |state: &mut State<T>| state.waiting.is_empty() && state.end.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), left, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if self.is_late() {
            state.end.get_or_insert(ObservationEnd::Time);
        }
        state.waiting_bytes = 0;
        Found {
            items: std::mem::take(&mut state.waiting).into(),
            dropped: std::mem::take(&mut state.dropped),
            end: state.end,
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bartizan_local::flow::Direction;

    use super::*;

    fn long() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn packet(size: usize) -> CapturedPacket {
        CapturedPacket {
            at_ns: 0,
            way: Direction::Egress,
            length: 0,
            bytes: vec![0; size],
        }
    }

    fn feed(items: u64, bytes: u64, count: usize, size: usize) -> Feed<CapturedPacket> {
        let feed = Feed::new(items, bytes, long());
        for _ in 0..count {
            feed.put(size, || packet(size));
        }
        feed
    }

    /// Known attack: see [`bartizan_local::observation`].
    #[test]
    fn what_nobody_reads_is_left_out_and_counted() {
        let by_count = feed(u64::MAX, u64::MAX, 10_000, 1).take(Instant::now());
        assert_eq!((by_count.items.len(), by_count.end), (MOST, None));
        assert_eq!(by_count.dropped, 10_000 - MOST as u64);
        let by_size = feed(u64::MAX, u64::MAX, 1000, 60_000);
        let found = by_size.take(Instant::now());
        assert_eq!(found.items.len(), MOST_BYTES / 60_000);
        assert_eq!(found.dropped, 1000 - found.items.len() as u64);
        // Once it was read there is room again.
        by_size.put(1, || packet(1));
        let found = by_size.take(Instant::now());
        assert_eq!((found.items.len(), found.dropped), (1, 0));
    }

    #[test]
    fn it_is_over_after_as_much_as_was_wanted() {
        for (items, bytes, end) in [
            (3, u64::MAX, ObservationEnd::Packets),
            (u64::MAX, 30, ObservationEnd::Bytes),
        ] {
            let feed = feed(items, bytes, 9, 10);
            assert!(!feed.is_open());
            let found = feed.take(Instant::now() + Duration::from_secs(60));
            assert_eq!((found.items.len(), found.end), (3, Some(end)));
            // What came first counts.
            feed.end(ObservationEnd::Time);
            assert_eq!(feed.take(Instant::now()).end, Some(end));
        }
    }

    /// Known attack: whoever captures reads slowly, so that packets are copied beyond its time.
    #[test]
    fn nothing_is_put_in_once_its_time_is_over() {
        let until = Instant::now() + Duration::from_secs(1);
        let feed = Feed::new(u64::MAX, u64::MAX, until);
        let mut put = 0;
        while feed.is_open() {
            feed.put(1, || packet(1));
            put += 1;
        }
        feed.put(1, || packet(1));
        // All of it, at once and as the last.
        let found = feed.take(long());
        assert_eq!(found.end, Some(ObservationEnd::Time));
        let count = found.items.len() as u64 + found.dropped;
        // Its time may have been over just before the last one.
        assert!(count == put || count + 1 == put, "{count} of {put}");
        feed.put(1, || packet(1));
        let found = feed.take(long());
        assert_eq!((found.items.len(), found.dropped), (0, 0));
    }

    #[test]
    fn a_reader_that_waits_is_woken() {
        let feed = feed(u64::MAX, u64::MAX, 0, 0);
        let long = long();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| feed.wait_for_begin(long));
            feed.begin();
            assert!(reader.join().unwrap());
            let reader = scope.spawn(|| feed.take(long).items.len());
            feed.put(1, || packet(1));
            assert_eq!(reader.join().unwrap(), 1);
            let reader = scope.spawn(|| feed.take(long).end);
            feed.end(ObservationEnd::Gone);
            assert_eq!(reader.join().unwrap(), Some(ObservationEnd::Gone));
        });
    }
}
