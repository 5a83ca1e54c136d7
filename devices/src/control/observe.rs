//! The daemon sees a guest's flows: see [`bartizan_local::observation`].

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bartizan_local::flow::Guest;
use bartizan_local::observation::{
    CaptureLimits, CapturedPacket, Filter, FlowRecord, MAX_FRAME, Observation, ObservationEnd,
    ObservationRefusal, Observe, Observed, Tally,
};
use bartizan_local::{FrameError, write_frame};

use crate::decisions::Decisions;
use crate::net::Station;
use crate::net::flow::Cursor;
use crate::net::observation::{Ask, Capture, Feed, Look, Watch, Weighs};

/// Most observations at once, each a thread.
const MOST: usize = 16;
/// How long the daemon may take to read, beyond what an observation lasts.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a guest's thread may take over a page, or to begin.
const PAGE: Duration = Duration::from_secs(5);
/// After how long it is said that it goes on.
const GOING: Duration = Duration::from_secs(1);
/// Most flows, and most bytes of packets, in one frame.
const FLOWS: usize = 128;
const BYTES: usize = 128 << 10;

/// What may be observed by how many.
#[derive(Debug)]
pub(super) struct Observations {
    decisions: Arc<Decisions>,
    places: AtomicUsize,
}

/// A place among those that observe, given back when dropped.
struct Place<'o>(&'o AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Observations {
    pub(super) fn new(decisions: Arc<Decisions>) -> Self {
        Self {
            decisions,
            places: AtomicUsize::new(MOST),
        }
    }

    /// Answers until it is over, or the daemon has closed its link.
    pub(super) fn serve(&self, link: &UnixStream, observe: &Observe) -> Result<(), FrameError> {
        let mut reader = Reader {
            link,
            tally: Tally::default(),
        };
        if !observe.what.is_bounded() {
            return reader.say(&Observed::Refused(ObservationRefusal::Limits));
        }
        let Some(_place) = self.place() else {
            return reader.say(&Observed::Refused(ObservationRefusal::TooMany));
        };
        let Some(station) = self.decisions.station(observe.guest) else {
            return reader.say(&Observed::Refused(ObservationRefusal::NoDevice));
        };
        let (guest, filter) = (observe.guest, observe.filter);
        tracing::info!(?guest, what = ?observe.what, "its flows are observed");
        let why = match observe.what {
            Observation::List => self.list(&mut reader, &station, filter)?,
            Observation::Watch { seconds } => {
                let feed = Feed::new(u64::MAX, u64::MAX);
                let watch = Arc::new(Watch { filter, feed });
                ask(&station, Ask::Watch(Arc::clone(&watch)));
                let said = self.follow(&mut reader, (guest, &station), seconds, &watch.feed);
                watch.feed.end(ObservationEnd::Time);
                said?
            }
            Observation::Capture(limits) => {
                let CaptureLimits {
                    packets,
                    bytes,
                    snap,
                    seconds,
                } = limits;
                let capture = Arc::new(Capture {
                    filter,
                    snap: usize::try_from(snap).unwrap_or(usize::MAX),
                    feed: Feed::new(packets, bytes),
                });
                ask(&station, Ask::Capture(Arc::clone(&capture)));
                let said = self.follow(&mut reader, (guest, &station), seconds, &capture.feed);
                capture.feed.end(ObservationEnd::Time);
                said?
            }
        };
        let tally = reader.tally;
        tracing::info!(?guest, ?why, ?tally, "its flows are not observed any more");
        reader.say(&Observed::Ended { why, tally })
    }

    fn list(
        &self,
        reader: &mut Reader<'_>,
        station: &Station,
        filter: Filter,
    ) -> Result<ObservationEnd, FrameError> {
        let mut from = Some(Cursor::default());
        while let Some(cursor) = from {
            let (answer, page) = sync_channel(1);
            let look = Look {
                from: cursor,
                filter,
                answer,
            };
            ask(station, Ask::Look(look));
            let Ok((flows, next)) = page.recv_timeout(PAGE) else {
                return Ok(ObservationEnd::Gone);
            };
            reader.tally.told += flows.len() as u64;
            reader.tell(flows)?;
            from = next;
        }
        Ok(ObservationEnd::Complete)
    }

    /// Tells what comes, for so long.
    fn follow<T: Weighs + Tells>(
        &self,
        reader: &mut Reader<'_>,
        (guest, station): (Guest, &Arc<Station>),
        seconds: u32,
        feed: &Feed<T>,
    ) -> Result<ObservationEnd, FrameError> {
        let end = Instant::now() + Duration::from_secs(seconds.into());
        // Who does not read for a while loses what comes meanwhile, and no more.
        let longest = Duration::from_secs(seconds.into()) + TIMEOUT;
        reader.link.set_write_timeout(Some(longest))?;
        if !feed.wait_for_begin(Instant::now() + PAGE) {
            return Ok(ObservationEnd::Gone);
        }
        // It has begun.
        reader.say(&Observed::Going(reader.tally))?;
        let mut going = Instant::now() + GOING;
        loop {
            let found = feed.take(going.min(end));
            reader.tally = found.tally;
            reader.tell(found.items)?;
            if let Some(why) = found.end {
                return Ok(why);
            }
            let now = Instant::now();
            if now >= end {
                return Ok(ObservationEnd::Time);
            }
            if now >= going {
                going = now + GOING;
                let present = self.decisions.station(guest);
                if !present.is_some_and(|present| Arc::ptr_eq(&present, station)) {
                    return Ok(ObservationEnd::Gone);
                }
                reader.say(&Observed::Going(reader.tally))?;
            }
        }
    }

    fn place(&self) -> Option<Place<'_>> {
        let taken = self
            .places
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        taken.ok().map(|_| Place(&self.places))
    }
}

fn ask(station: &Station, ask: Ask) {
    station.inbox.change(|mail| mail.asks.push(ask));
}

/// Who reads, and what was told so far.
struct Reader<'l> {
    link: &'l UnixStream,
    tally: Tally,
}

impl Reader<'_> {
    fn tell<T: Tells>(&self, items: Vec<T>) -> Result<(), FrameError> {
        T::frames(items)
            .iter()
            .try_for_each(|frame| self.say(frame))
    }

    fn say(&self, observed: &Observed) -> Result<(), FrameError> {
        let mut link = self.link;
        write_frame(&mut link, observed, MAX_FRAME)
    }
}

/// What is told in frames.
trait Tells: Sized {
    fn frames(items: Vec<Self>) -> Vec<Observed>;
}

impl Tells for FlowRecord {
    fn frames(items: Vec<Self>) -> Vec<Observed> {
        let pieces = items.chunks(FLOWS);
        pieces
            .map(|piece| Observed::Flows(piece.to_vec()))
            .collect()
    }
}

impl Tells for CapturedPacket {
    fn frames(items: Vec<Self>) -> Vec<Observed> {
        let (mut frames, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
        for packet in items {
            // What goes with each is less.
            let size = packet.bytes.len() + 64;
            if bytes + size > BYTES && !piece.is_empty() {
                frames.push(Observed::Packets(std::mem::take(&mut piece)));
                bytes = 0;
            }
            bytes += size;
            piece.push(packet);
        }
        if !piece.is_empty() {
            frames.push(Observed::Packets(piece));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use bartizan_local::encode;
    use bartizan_local::flow::Direction;
    use bartizan_local::observation::MAX_SNAP;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was captured: nothing is lost between two frames, and none is too long.
        #[test]
        fn packets_are_told_in_frames_that_fit(sizes in prop::collection::vec(
            prop_oneof![0..200_usize, 60_000..=MAX_SNAP as usize], 0..40
        )) {
            let packet = |size: &usize| CapturedPacket {
                at_ns: u64::MAX,
                way: Direction::Ingress,
                length: u32::MAX,
                bytes: vec![0xff; *size],
            };
            let frames = CapturedPacket::frames(sizes.iter().map(packet).collect());
            let mut told = Vec::new();
            for frame in frames {
                prop_assert!(encode(&frame).len() <= MAX_FRAME);
                let Observed::Packets(packets) = frame else {
                    return Err(TestCaseError::fail("no packets"));
                };
                told.extend(packets.iter().map(|packet| packet.bytes.len()));
            }
            prop_assert_eq!(told, sizes);
        }
    }

    #[test]
    fn there_are_so_many_places_and_each_is_given_back() {
        let observations = Observations::new(Decisions::new());
        let mut taken: Vec<_> = std::iter::from_fn(|| observations.place()).collect();
        assert_eq!(taken.len(), MOST);
        taken.pop();
        assert!(observations.place().is_some());
    }
}
