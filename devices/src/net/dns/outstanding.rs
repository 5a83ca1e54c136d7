//! Queries that are not answered yet.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::message::Query;

/// Most of one guest. Known attack: a process of the guest's asks without end, so that nobody's answer matches. The oldest goes first, and
/// is answered by then as a rule.
const MOST: usize = 256;
/// How long an answer may take.
const WAITING: Duration = Duration::from_secs(10);

/// In the order in which they were asked.
#[derive(Debug, Default)]
pub(super) struct Outstanding(VecDeque<One>);

/// Who asks whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asker {
    pub(super) resolver: IpAddr,
    /// The guest's address and port.
    pub(super) local: (IpAddr, u16),
}

#[derive(Debug)]
struct One {
    asker: Asker,
    query: Query,
    until: Instant,
}

impl Outstanding {
    /// Asked once more is asked once.
    pub(super) fn add(&mut self, asker: Asker, query: Query, now: Instant) {
        self.0
            .retain(|one| now < one.until && (one.asker != asker || one.query != query));
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let until = now + WAITING;
        self.0.push_back(One {
            asker,
            query,
            until,
        });
    }

    /// Takes the query out that a message is the answer to, if any.
    pub(super) fn take(&mut self, asker: &Asker, message: &[u8], now: Instant) -> Option<Query> {
        let at = self.0.iter().position(|one| {
            one.asker == *asker && now < one.until && one.query.is_answered_by(message)
        })?;
        self.0.remove(at).map(|one| one.query)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
