//! What was noted of a guest's answers, to be told again to whoever decides next: that one knows none of it, and the guest asks no more for
//! as long as it keeps the answers.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bartizan_local::flow::Resolved;

use crate::net::flow::Numbers;

/// Most of one guest; the oldest goes first.
const MOST: usize = 256;
/// As long as anybody keeps a name: a day, and another for the flows that began by it.
const KEPT: Duration = Duration::from_secs(48 * 3600);

/// In the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Told {
    noted: VecDeque<(Instant, Resolved)>,
    /// What was told again, by number, and is not noted yet.
    again: HashMap<u64, Vec<IpAddr>>,
}

impl Told {
    /// It came then, and is known.
    pub(super) fn keep(&mut self, resolved: Resolved, came: Instant) {
        let is_same = |other: &Resolved| {
            (other.resolver, &other.name, &other.addresses)
                == (resolved.resolver, &resolved.name, &resolved.addresses)
        };
        self.noted.retain(|(_, other)| !is_same(other));
        if self.noted.len() >= MOST {
            self.noted.pop_front();
        }
        self.noted.push_back((came, resolved));
    }

    /// All of it that these servers said.
    pub(super) fn again(
        &mut self,
        believed: &[IpAddr],
        numbers: &Numbers,
        now: Instant,
    ) -> Vec<Resolved> {
        self.again.clear();
        self.noted
            .retain(|(came, _)| now.saturating_duration_since(*came) < KEPT);
        let theirs = self.noted.iter();
        let theirs = theirs.filter(|(_, one)| believed.contains(&one.resolver));
        let told = theirs.map(|(came, resolved)| Resolved {
            number: numbers.next(),
            since_s: now.saturating_duration_since(*came).as_secs(),
            ..resolved.clone()
        });
        let told: Vec<_> = told.collect();
        let addresses = told.iter().map(|one| (one.number, one.addresses.clone()));
        self.again.extend(addresses);
        told
    }

    /// What was told again is known: its addresses.
    pub(super) fn noted(&mut self, number: u64) -> Option<Vec<IpAddr>> {
        self.again.remove(&number)
    }
}
