//! Flows that did not begin, since they are known to be denied: no place is taken for them, and what is tried is remembered.
//!
//! Known attack: each port is knocked at, or one of them from each port. Attempts at the same thing are one, few are told apart at a
//! time, and the oldest of these becomes one of those that are over.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bartizan_local::flow::Flow;
use bartizan_local::observation::{Amount, FlowEnd};

use super::key::Key;
use super::record::{Decided, Record};
use super::verdicts::Ruling;

/// Most of one guest that are told apart.
const MOST: usize = 32;
/// How long after the last attempt it is over.
const IDLE: Duration = Duration::from_secs(10);
/// How long attempts are one, however many come.
const LONGEST: Duration = Duration::from_secs(60);

/// Attempts, the newest first.
#[derive(Debug, Default)]
pub(super) struct Denials(VecDeque<Denial>);

#[derive(Debug)]
struct Denial {
    flow: Flow,
    local: IpAddr,
    begun_port: Option<u16>,
    began: Instant,
    last: Instant,
    packets: u64,
    decided: Decided,
}

impl Denials {
    /// One more attempt. Returns what there is no place for any more.
    pub(super) fn note(
        &mut self,
        key: &Key,
        flow: &Flow,
        ruling: &Ruling,
        now: Instant,
    ) -> Option<Record> {
        let (local, begun_port) = (key.local(), key.begun_port(flow.direction));
        let is_same = |one: &&mut Denial| one.flow == *flow && one.local == local;
        if let Some(known) = self.0.iter_mut().find(is_same) {
            if known.begun_port != begun_port {
                known.begun_port = None;
            }
            known.packets += 1;
            known.last = now;
            if known.decided.epoch != ruling.epoch {
                known.decided = Decided::of(ruling);
            }
            return None;
        }
        let oldest = if self.0.len() >= MOST {
            self.0.pop_back()
        } else {
            None
        };
        self.0.push_front(Denial {
            flow: *flow,
            local,
            begun_port,
            began: now,
            last: now,
            packets: 1,
            decided: Decided::of(ruling),
        });
        oldest.map(|one| one.record(true))
    }

    /// Those that are over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Record> {
        let mut over = Vec::new();
        self.0.retain(|one| {
            let idle = now.saturating_duration_since(one.last);
            let lasted = now.saturating_duration_since(one.began);
            let stays = idle < IDLE && lasted < LONGEST;
            if !stays {
                over.push(one.record(true));
            }
            stays
        });
        over
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.0.iter().map(|one| one.record(false))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Denial {
    fn record(&self, is_over: bool) -> Record {
        Record {
            flow: self.flow,
            local: self.local,
            begun_port: self.begun_port,
            began: self.began,
            last: self.last,
            sent: Amount::default(),
            received: Amount::default(),
            refused: self.packets,
            decided: Some(self.decided.clone()),
            end: is_over.then_some(FlowEnd::Denied),
        }
    }
}
