//! What is remembered of flows that are over.
//!
//! Known attack: a guest floods flows so that what it did before is forgotten. It pushes out what is remembered of flows that it has
//! begun itself and no other's: each guest has its own, and those that others begin have places of their own, too.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::{Direction, Epoch, Flow};
use bartizan_local::observation::{Amount, Decision, Ends, FlowEnd, FlowRecord};

use super::verdicts::Ruling;

/// Most of one guest and one direction: the latest.
pub(super) const MOST: usize = 512;

/// A flow, as it is told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which.
    pub flow: Flow,
    /// The guest's address.
    pub local: IpAddr,
    /// The port of whoever began it; none where there is none, and of attempts by several.
    pub begun_port: Option<u16>,
    /// When its first packet came.
    pub began: Instant,
    /// When its last one did.
    pub last: Instant,
    /// What passed of the guest's, in whole frames.
    pub sent: Amount,
    /// What passed for the guest.
    pub received: Amount,
    /// Packets that did not pass by what was decided.
    pub refused: u64,
    /// What was decided last; none where nothing was.
    pub decided: Option<Decided>,
    /// Why it is over, if it is.
    pub end: Option<FlowEnd>,
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Whether the flow may be.
    pub allowed: bool,
    /// By which rule, or why by none.
    pub rule: Arc<str>,
    /// In which epoch.
    pub epoch: Epoch,
}

/// One moment by two clocks: what is told of flows is of the wall's.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the one that only goes forward.
    pub now: Instant,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// The latest flows of one guest that are over, each with its number: as many were over before it.
#[derive(Debug, Default)]
pub(super) struct Records {
    egress: VecDeque<(u64, Record)>,
    ingress: VecDeque<(u64, Record)>,
    count: u64,
    is_watched: bool,
    /// Those of this turn, for who watches: all of them, however many are remembered.
    ended: Vec<Record>,
}

impl Decided {
    pub(super) fn of(ruling: &Ruling) -> Self {
        Self {
            allowed: ruling.allowed,
            rule: Arc::clone(&ruling.reason),
            epoch: ruling.epoch,
        }
    }
}

impl Moment {
    fn ms(&self, at: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(at).as_millis();
        self.unix_ms
            .saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
    }
}

impl Record {
    pub(super) const fn ends(&self) -> Ends {
        Ends {
            protocol: self.flow.protocol,
            addresses: [self.local, self.flow.peer],
            ports: [self.flow.port, self.begun_port],
        }
    }

    /// As others are told of it.
    #[must_use]
    pub fn told(&self, moment: &Moment) -> FlowRecord {
        FlowRecord {
            flow: self.flow,
            local: self.local,
            begun_port: self.begun_port,
            began_ms: moment.ms(self.began),
            last_ms: moment.ms(self.last),
            sent: self.sent,
            received: self.received,
            refused: self.refused,
            decision: self.decided.as_ref().map(|decided| Decision {
                allowed: decided.allowed,
                rule: decided.rule.as_ref().into(),
                epoch: decided.epoch,
            }),
            end: self.end,
        }
    }
}

impl Records {
    pub(super) fn keep(&mut self, record: Record) {
        if self.is_watched {
            self.ended.push(record.clone());
        }
        let number = self.count;
        let kept = self.of_mut(record.flow.direction);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((number, record));
        self.count += 1;
    }

    pub(super) fn watch(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
        self.ended.clear();
    }

    pub(super) fn take_ended(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.ended)
    }

    /// How many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Those of one direction from a number on, the oldest first.
    pub(super) fn from(
        &self,
        direction: Direction,
        number: u64,
    ) -> impl Iterator<Item = &(u64, Record)> {
        let kept = match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        };
        let first = kept.partition_point(|(known, _)| *known < number);
        kept.range(first..)
    }

    const fn of_mut(&mut self, direction: Direction) -> &mut VecDeque<(u64, Record)> {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}
