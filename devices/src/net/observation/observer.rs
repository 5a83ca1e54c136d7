//! A guest's thread's part of it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Instant, UNIX_EPOCH};

use bartizan_local::flow::Direction;
use bartizan_local::observation::{CapturedPacket, Ends, Filter, FlowRecord, ObservationEnd};

use super::Feed;
use crate::net::flow::{Cursor, Flows, Moment};
use crate::net::frame::{Body, Frame};
use crate::net::packet::Packet;

/// What a reader asks of a guest's thread.
#[derive(Debug)]
pub enum Ask {
    /// A page of flows.
    Look(Look),
    /// Flows as they end.
    Watch(Arc<Watch>),
    /// Packets.
    Capture(Arc<Capture>),
}

/// A page of flows, asked for.
#[derive(Debug)]
pub struct Look {
    /// From where on.
    pub from: Cursor,
    /// Which.
    pub filter: Filter,
    /// Where it goes: room for one.
    pub answer: SyncSender<(Vec<FlowRecord>, Option<Cursor>)>,
}

/// Flows as they end.
#[derive(Debug)]
pub struct Watch {
    /// Which.
    pub filter: Filter,
    /// Where they go.
    pub feed: Feed<FlowRecord>,
}

/// Packets.
#[derive(Debug)]
pub struct Capture {
    /// Of which flows.
    pub filter: Filter,
    /// Most bytes of one.
    pub snap: usize,
    /// Where they go.
    pub feed: Feed<CapturedPacket>,
}

/// Who observes a guest.
#[derive(Debug, Default)]
pub struct Observer {
    watches: Vec<Arc<Watch>>,
    captures: Vec<Arc<Capture>>,
}

impl Observer {
    /// Does what is asked.
    pub fn take(&mut self, asks: Vec<Ask>, flows: &mut Flows, now: Instant) {
        for ask in asks {
            match ask {
                Ask::Look(look) => {
                    let (page, next) = flows.page(look.from, &look.filter);
                    let moment = Moment::at(now);
                    let page = page.iter().map(|record| record.told(&moment)).collect();
                    // Who asked may be gone.
                    let _ = look.answer.try_send((page, next));
                }
                Ask::Watch(watch) => {
                    self.tell(flows, now);
                    flows.watch(true);
                    watch.feed.begin();
                    self.watches.push(watch);
                }
                Ask::Capture(capture) => {
                    capture.feed.begin();
                    self.captures.push(capture);
                }
            }
        }
    }

    /// A packet as the guest has sent it, whatever becomes of it, or as it was given it. What is no packet that could be judged is refused before.
    #[inline]
    pub fn see(&self, packet: &Packet, way: Direction) {
        if !self.captures.is_empty() {
            self.copy(packet, way);
        }
    }

    /// The end of a turn: tells who watches, and forgets who does not any more.
    pub fn turn(&mut self, flows: &mut Flows, now: Instant) {
        if !self.watches.is_empty() {
            self.tell(flows, now);
            self.watches.retain(|watch| watch.feed.is_open());
            flows.watch(!self.watches.is_empty());
        }
        if !self.captures.is_empty() {
            self.captures.retain(|capture| capture.feed.is_open());
        }
    }

    fn tell(&self, flows: &mut Flows, now: Instant) {
        let ended = flows.take_ended();
        if ended.is_empty() {
            return;
        }
        let moment = Moment::at(now);
        for record in ended {
            let told = record.told(&moment);
            let those = self
                .watches
                .iter()
                .filter(|one| one.filter.contains(&told.ends()));
            for watch in those {
                watch.feed.put(0, || told.clone());
            }
        }
    }

    fn copy(&self, packet: &Packet, way: Direction) {
        let ends = ends(&packet.frame);
        let is_of = |filter: &Filter| match &ends {
            Some(ends) => filter.contains(ends),
            // What is of no flow is seen where nothing is left out.
            None => filter.is_everything(),
        };
        for capture in self.captures.iter().filter(|one| is_of(&one.filter)) {
            let size = capture.snap.min(packet.bytes.len());
            capture.feed.put(size, || {
                let since = UNIX_EPOCH.elapsed().unwrap_or_default();
                CapturedPacket {
                    at_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
                    way,
                    length: u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX),
                    bytes: packet.bytes.get(..size).unwrap_or_default().to_vec(),
                }
            });
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        for watch in &self.watches {
            watch.feed.end(ObservationEnd::Gone);
        }
        for capture in &self.captures {
            capture.feed.end(ObservationEnd::Gone);
        }
    }
}

/// The ends of an IP packet.
fn ends(frame: &Frame) -> Option<Ends> {
    let Body::Ip(ip) = &frame.body else {
        return None;
    };
    let ports = ip.transport.ports();
    Some(Ends {
        protocol: ip.protocol,
        addresses: [ip.source, ip.destination],
        ports: [ports.map(|(from, _)| from), ports.map(|(_, to)| to)],
    })
}
