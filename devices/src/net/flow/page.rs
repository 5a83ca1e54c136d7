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
    /// Flows that are over, from this number on.
    Over(Direction, u64),
}

impl Default for Part {
    fn default() -> Self {
        Self::Live(0)
    }
}

impl Flows {
    /// The next of its flows, and from where on there may be more. One that ends meanwhile may be on two pages.
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
                (page, Some(Part::Over(Direction::Egress, 0)))
            }
            Part::Over(direction, number) => {
                let over = self.records.from(direction, number).take(PAGE);
                let (numbers, page): (Vec<_>, Vec<_>) = over.cloned().unzip();
                let next = match (numbers.last(), direction) {
                    (Some(last), _) => Some(Part::Over(direction, last + 1)),
                    (None, Direction::Egress) => Some(Part::Over(Direction::Ingress, 0)),
                    (None, Direction::Ingress) => None,
                };
                (page, next)
            }
        };
        page.retain(|record| filter.contains(&record.ends()));
        (page, next.map(Cursor))
    }

    /// Those that are over since there were so many, as far as they are remembered, in their order.
    #[must_use]
    pub fn over_since(&self, count: u64) -> Vec<&Record> {
        let of = |direction| self.records.from(direction, count);
        let mut over: Vec<_> = of(Direction::Egress)
            .chain(of(Direction::Ingress))
            .collect();
        over.sort_unstable_by_key(|(number, _)| *number);
        over.into_iter().map(|(_, record)| record).collect()
    }

    /// How many are over, so far.
    #[must_use]
    pub const fn over(&self) -> u64 {
        self.records.count()
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
