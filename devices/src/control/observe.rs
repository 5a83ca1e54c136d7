//! The daemon sees a guest's flows: see [`bartizan_local::observation`].

mod reader;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bartizan_local::FrameError;
use bartizan_local::observation::{
    CaptureLimits, Filter, Observation, ObservationEnd, ObservationRefusal, Observe, Observed,
};
use reader::Reader;

use crate::decisions::Decisions;
use crate::net::Station;
use crate::net::flow::Cursor;
use crate::net::observation::{Ask, Capture, Feed, Look, Watch};

/// Most of each at once, each a thread.
///
/// Known attack: an observer, who may list and watch, begins so many watches that no administrator may capture, or list.
const LISTS: usize = 8;
const WATCHES: usize = 16;
const CAPTURES: usize = 8;
/// How long a list may take.
const LIST: Duration = Duration::from_secs(120);
/// How long a guest's thread may take over a page, or to begin.
const PAGE: Duration = Duration::from_secs(5);

/// What may be observed by how many.
#[derive(Debug)]
pub(super) struct Observations {
    decisions: Arc<Decisions>,
    lists: AtomicUsize,
    watches: AtomicUsize,
    captures: AtomicUsize,
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
            lists: AtomicUsize::new(LISTS),
            watches: AtomicUsize::new(WATCHES),
            captures: AtomicUsize::new(CAPTURES),
        }
    }

    /// Answers until it is over, or the daemon has closed its link.
    pub(super) fn serve(&self, link: &UnixStream, observe: &Observe) {
        let (guest, what) = (observe.guest, observe.what);
        let end = Instant::now() + lasts(&what);
        let mut reader = Reader::new(link, end);
        let done = match self.place(observe) {
            Ok((_place, station)) => {
                tracing::info!(?guest, ?what, "its flows are observed");
                self.observe(&mut reader, &station, observe, end)
            }
            Err(why) => {
                tracing::info!(?guest, ?what, %why, "its flows are not observed");
                reader.say(&Observed::Refused(why))
            }
        };
        if let Err(error) = done {
            let tally = reader.tally;
            tracing::info!(?guest, ?tally, %error, "whoever observed its flows has left");
        }
    }

    fn observe(
        &self,
        reader: &mut Reader<'_>,
        station: &Arc<Station>,
        observe: &Observe,
        end: Instant,
    ) -> Result<(), FrameError> {
        let Observe {
            guest,
            filter,
            what,
        } = *observe;
        let is_there = || {
            let present = self.decisions.station(guest);
            present.is_some_and(|present| Arc::ptr_eq(&present, station))
        };
        let why = match what {
            Observation::List => list(reader, station, filter, end)?,
            Observation::Watch { .. } => {
                let feed = Feed::new(u64::MAX, u64::MAX, end);
                let watch = Arc::new(Watch { filter, feed });
                ask(station, Ask::Watch(Arc::clone(&watch)));
                let said = reader.follow(&watch.feed, is_there);
                watch.feed.end(ObservationEnd::Time);
                said?
            }
            Observation::Capture(limits) => {
                let CaptureLimits {
                    packets,
                    bytes,
                    snap,
                    seconds: _,
                } = limits;
                let capture = Arc::new(Capture {
                    filter,
                    snap: usize::try_from(snap).unwrap_or(usize::MAX),
                    feed: Feed::new(packets, bytes, end),
                });
                ask(station, Ask::Capture(Arc::clone(&capture)));
                let said = reader.follow(&capture.feed, is_there);
                capture.feed.end(ObservationEnd::Time);
                said?
            }
        };
        let tally = reader.tally;
        reader.say(&Observed::Ended { why, tally })?;
        tracing::info!(?guest, ?why, ?tally, "its flows are not observed any more");
        Ok(())
    }

    fn place(&self, observe: &Observe) -> Result<(Place<'_>, Arc<Station>), ObservationRefusal> {
        if !observe.what.is_bounded() {
            return Err(ObservationRefusal::Limits);
        }
        let places = match observe.what {
            Observation::List => &self.lists,
            Observation::Watch { .. } => &self.watches,
            Observation::Capture(_) => &self.captures,
        };
        let place = take(places).ok_or(ObservationRefusal::TooMany)?;
        let station = self.decisions.station(observe.guest);
        Ok((place, station.ok_or(ObservationRefusal::NoDevice)?))
    }
}

/// How long it may go on.
fn lasts(what: &Observation) -> Duration {
    match what {
        Observation::List => LIST,
        Observation::Watch { seconds } | Observation::Capture(CaptureLimits { seconds, .. }) => {
            Duration::from_secs((*seconds).into())
        }
    }
}

fn list(
    reader: &mut Reader<'_>,
    station: &Station,
    filter: Filter,
    end: Instant,
) -> Result<ObservationEnd, FrameError> {
    let mut from = Some(Cursor::default());
    while let Some(cursor) = from {
        if Instant::now() >= end {
            return Ok(ObservationEnd::Time);
        }
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
        reader.tell(flows)?;
        reader.go_on()?;
        from = next;
    }
    Ok(ObservationEnd::Complete)
}

fn ask(station: &Station, ask: Ask) {
    station.inbox.change(|mail| mail.asks.push(ask));
}

fn take(places: &AtomicUsize) -> Option<Place<'_>> {
    let taken = places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    });
    taken.ok().map(|_| Place(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_each_is_given_back() {
        let places = AtomicUsize::new(WATCHES);
        let mut taken: Vec<_> = std::iter::from_fn(|| take(&places)).collect();
        assert_eq!(taken.len(), WATCHES);
        taken.pop();
        assert!(take(&places).is_some());
    }
}
