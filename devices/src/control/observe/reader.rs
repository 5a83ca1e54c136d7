//! Telling whoever observes, in frames, for as long as there is time and somebody reads.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bartizan_local::observation::{
    CapturedPacket, FlowRecord, MAX_FRAME, ObservationEnd, Observed, Tally,
};
use bartizan_local::{FrameError, write_frame};

use super::PAGE;
use crate::net::observation::{Feed, Weighs};

/// How long who reads may take nothing; and how long after its end an observation tells what waits, and then that it is over. The card,
/// which cuts off after 30 s whoever reads nothing, is to be first.
const STALL: Duration = Duration::from_secs(35);
/// After how long it is said that it goes on.
const GOING: Duration = Duration::from_secs(1);
/// Most flows, and most bytes of packets, in one frame.
const FLOWS: usize = 128;
const BYTES: usize = 128 << 10;
/// Most bytes that are written at once: for so many a socket waits for room once.
const AT_ONCE: usize = 16 << 10;

/// Who reads, and what was told so far.
pub(super) struct Reader<'l> {
    link: Link<'l>,
    /// What is not told by then is left out.
    until: Instant,
    /// When it is said next that it goes on.
    going: Instant,
    pub(super) tally: Tally,
}

impl<'l> Reader<'l> {
    /// Of an observation that ends by then.
    pub(super) fn new(link: &'l UnixStream, end: Instant) -> Self {
        let until = end + STALL;
        Self {
            link: Link {
                link,
                until: until + STALL,
            },
            until,
            going: Instant::now() + GOING,
            tally: Tally::default(),
        }
    }

    /// Tells what comes, until it is over or nobody is there any more.
    pub(super) fn follow<T: Tells>(
        &mut self,
        feed: &Feed<T>,
        is_there: impl Fn() -> bool,
    ) -> Result<ObservationEnd, FrameError> {
        if !feed.wait_for_begin(Instant::now() + PAGE) {
            return Ok(ObservationEnd::Gone);
        }
        // It has begun.
        self.say(&Observed::Going(self.tally))?;
        loop {
            let found = feed.take(self.going);
            self.tally.dropped += found.dropped;
            self.tell(found.items)?;
            if let Some(why) = found.end {
                return Ok(why);
            }
            if self.go_on()? && !is_there() {
                // What waits is told yet.
                feed.end(ObservationEnd::Gone);
            }
        }
    }

    /// Tells these; counts those for which there is no time any more.
    pub(super) fn tell<T: Tells>(&mut self, items: Vec<T>) -> Result<(), FrameError> {
        for piece in T::pieces(items) {
            let (count, bytes) = (piece.len() as u64, piece.iter().map(Weighs::bytes).sum());
            if Instant::now() >= self.until {
                self.tally.dropped += count;
                continue;
            }
            self.say(&T::observed(piece))?;
            self.tally.told += count;
            self.tally.bytes += as_u64(bytes);
        }
        Ok(())
    }

    /// Says that it goes on, where it is time to: that finds out as well whether anybody reads. Returns whether it was.
    pub(super) fn go_on(&mut self) -> Result<bool, FrameError> {
        let now = Instant::now();
        if now < self.going {
            return Ok(false);
        }
        self.going = now + GOING;
        self.say(&Observed::Going(self.tally))?;
        Ok(true)
    }

    pub(super) fn say(&mut self, observed: &Observed) -> Result<(), FrameError> {
        write_frame(&mut self.link, observed, MAX_FRAME)
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A link to which nothing is written after that moment, however slowly it is read.
struct Link<'l> {
    link: &'l UnixStream,
    until: Instant,
}

impl Write for Link<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.link.set_write_timeout(Some(left.min(STALL)))?;
        let some = bytes.get(..AT_ONCE).unwrap_or(bytes);
        self.link.write(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is told in frames.
pub(super) trait Tells: Weighs + Sized {
    /// In pieces for one frame each.
    fn pieces(items: Vec<Self>) -> Vec<Vec<Self>>;
    /// Such a frame.
    fn observed(piece: Vec<Self>) -> Observed;
}

impl Tells for FlowRecord {
    fn pieces(items: Vec<Self>) -> Vec<Vec<Self>> {
        items.chunks(FLOWS).map(<[Self]>::to_vec).collect()
    }

    fn observed(piece: Vec<Self>) -> Observed {
        Observed::Flows(piece)
    }
}

impl Tells for CapturedPacket {
    fn pieces(items: Vec<Self>) -> Vec<Vec<Self>> {
        let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
        for packet in items {
            // What goes with each is less.
            let size = packet.bytes.len() + 64;
            if bytes + size > BYTES && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += size;
            piece.push(packet);
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
        pieces
    }

    fn observed(piece: Vec<Self>) -> Observed {
        Observed::Packets(piece)
    }
}

#[cfg(test)]
mod tests;
