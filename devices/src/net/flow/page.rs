//! A guest's flows, a page at a time: its thread never looks at more of them in one turn than so many.

use std::time::Instant;

use bartizan_local::flow::Direction;
use bartizan_local::observation::Filter;

use super::record::{Moment, Record};
use super::table::Flows;

/// Most places that are looked at for one page, and so most flows on it.
pub const PAGE: usize = 128;

/// From where on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cursor(Part);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// Flows that there are, from this place on.
    Live(usize),
    /// Attempts at what is denied.
    Denied,
    /// Flows that are over, from this number on, up to that one.
    Over(Direction, u64, u64),
}

impl Default for Part {
    fn default() -> Self {
        Self::Live(0)
    }
}

impl Flows {
    /// The next of its flows, and from where on there may be more. One that ends meanwhile may be on two pages.
    ///
    /// Known attack: flows end, or are denied, faster than pages are asked for, so that a list never ends. It ends with those that were
    /// over when all that there were had been looked at.
    #[must_use]
    pub fn page(&self, from: Cursor, filter: &Filter) -> (Vec<Record>, Option<Cursor>) {
        let (mut page, next) = match from.0 {
            Part::Live(place) => {
                let (flows, next) = self.entries.from(place, PAGE);
                let page = flows.map(|(key, entry)| entry.record(key, None));
                (page.collect(), Some(next.map_or(Part::Denied, Part::Live)))
            }
            Part::Denied => {
                let page: Vec<_> = self.denials.records().collect();
                let end = self.records.count();
                (page, Some(Part::Over(Direction::Egress, 0, end)))
            }
            Part::Over(direction, number, end) => {
                let over = self.records.from(direction, number);
                let over = over.take_while(|(number, _)| *number < end).take(PAGE);
                let (numbers, page): (Vec<_>, Vec<_>) = over.cloned().unzip();
                let next = match (numbers.last(), direction) {
                    (Some(last), _) => Some(Part::Over(direction, last + 1, end)),
                    (None, Direction::Egress) => Some(Part::Over(Direction::Ingress, 0, end)),
                    (None, Direction::Ingress) => None,
                };
                (page, next)
            }
        };
        page.retain(|record| filter.contains(&record.ends()));
        (page, next.map(Cursor))
    }

    /// Whether [`Self::take_ended`] is called at each turn.
    pub fn watch(&mut self, is_watched: bool) {
        self.records.watch(is_watched);
    }

    /// Those that have ended since this was called last, in their order, as long as somebody watches.
    pub fn take_ended(&mut self) -> Vec<Record> {
        self.records.take_ended()
    }

    /// Those that are over, as far as they are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> Vec<&Record> {
        let of = |direction| self.records.from(direction, 0);
        let all = of(Direction::Egress).chain(of(Direction::Ingress));
        all.map(|(_, record)| record).collect()
    }
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn at(now: Instant) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            now,
            unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
