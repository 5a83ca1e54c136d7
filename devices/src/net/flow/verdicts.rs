//! Verdicts that hold for more flows than the one that was asked about.
//!
//! Known attack: whoever can have many verdicts given makes the search for one long. There are a few at most, the oldest goes
//! first, and a flow that is known needs none. Those on flows that others begin take no places of those on the guest's own, and those on
//! flows that begin outside of this host none of either.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Epoch, Flow, Verdict, Width};

/// Most of one guest of each kind: a policy decides by few widths at a time.
const MOST: usize = 64;

/// What was decided on a flow.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Ruling {
    /// Of those who decided one after another, which one did.
    pub(super) judge: u64,
    pub(super) epoch: Epoch,
    pub(super) allowed: bool,
    pub(super) allowed_unavailable: bool,
    pub(super) reason: Arc<str>,
    /// Until when flows may begin by it; none: as long as its epoch holds.
    pub(super) begins_until: Option<Instant>,
}

/// The verdicts of one guest, by who begins the flows that were asked about.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    egress: VecDeque<(Width, Arc<Ruling>)>,
    ingress: VecDeque<(Width, Arc<Ruling>)>,
    outside: VecDeque<(Width, Arc<Ruling>)>,
}

impl Ruling {
    /// What this judge has decided.
    pub(super) fn of(verdict: &Verdict, judge: u64, now: Instant) -> Self {
        let within = verdict.begin_within_s.map(Duration::from_secs);
        Self {
            judge,
            epoch: verdict.epoch,
            allowed: verdict.allowed,
            allowed_unavailable: verdict.allowed_unavailable,
            reason: verdict.reason.as_str().into(),
            // What ends beyond all time does not end.
            begins_until: within.and_then(|within| now.checked_add(within)),
        }
    }

    /// Whether the flow may be, by whether somebody can decide.
    pub(super) const fn allows(&self, is_available: bool) -> bool {
        self.allowed && (is_available || self.allowed_unavailable)
    }

    /// Whether a flow may begin by it now.
    fn begins(&self, now: Instant) -> bool {
        self.begins_until.is_none_or(|until| now < until)
    }
}

impl Verdicts {
    /// Keeps one that was asked for that flow, in the place of an older one as wide.
    pub(super) fn keep(&mut self, asked: &Flow, width: Width, ruling: Arc<Ruling>) {
        let kept = match (asked.direction, asked.outside) {
            (Direction::Egress, _) => &mut self.egress,
            (Direction::Ingress, false) => &mut self.ingress,
            (Direction::Ingress, true) => &mut self.outside,
        };
        kept.retain(|(other, _)| *other != width);
        if kept.len() >= MOST {
            kept.pop_back();
        }
        kept.push_front((width, ruling));
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what does not hold any more.
    pub(super) fn forget(&mut self, present: Epoch) {
        for kept in self.all() {
            kept.retain(|(_, ruling)| ruling.epoch.holds_in(present));
        }
    }

    /// Forgets what was decided of any of these peers: it may be otherwise now. What is of any peer was not decided by who it is.
    pub(super) fn forget_peers(&mut self, peers: &[IpAddr]) {
        let is_of = |width: &Width| {
            width
                .peers
                .is_some_and(|range| peers.iter().any(|peer| range.contains(*peer)))
        };
        for kept in self.all() {
            kept.retain(|(width, _)| !is_of(width));
        }
    }

    const fn all(&mut self) -> [&mut VecDeque<(Width, Arc<Ruling>)>; 3] {
        [&mut self.egress, &mut self.ingress, &mut self.outside]
    }

    /// What was decided of a flow that begins now: the newest.
    pub(super) fn find(&self, flow: &Flow, now: Instant) -> Option<&Arc<Ruling>> {
        let kept = match (flow.direction, flow.outside) {
            (Direction::Egress, _) => &self.egress,
            (Direction::Ingress, false) => &self.ingress,
            (Direction::Ingress, true) => &self.outside,
        };
        let mut all = kept.iter();
        all.find_map(|(width, ruling)| {
            (ruling.begins(now) && width.contains(flow)).then_some(ruling)
        })
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.egress.len() + self.ingress.len() + self.outside.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bartizan_local::flow::Direction::{Egress, Ingress};

    use super::*;

    fn flow(port: u16) -> Flow {
        Flow {
            direction: Egress,
            protocol: 6,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(port),
            icmp_type: None,
            outside: false,
        }
    }

    fn begun_by_others(port: u16) -> Flow {
        Flow {
            direction: Ingress,
            ..flow(port)
        }
    }

    fn of(port: u16) -> Width {
        Width {
            ports: Some((port, port)),
            ..Width::default()
        }
    }

    fn ruling(policy: u64) -> Arc<Ruling> {
        Arc::new(Ruling {
            judge: 0,
            epoch: Epoch { policy, state: 0 },
            allowed: true,
            allowed_unavailable: false,
            reason: "web/https".into(),
            begins_until: None,
        })
    }

    #[test]
    fn the_newest_that_is_wide_enough_is_found_until_it_does_not_hold() {
        let mut verdicts = Verdicts::default();
        verdicts.keep(&flow(80), of(80), ruling(1));
        verdicts.keep(&flow(443), of(443), ruling(2));
        assert_eq!(verdicts.find(&flow(80), Instant::now()), Some(&ruling(1)));
        assert_eq!(verdicts.find(&flow(81), Instant::now()), None);
        verdicts.keep(&flow(80), Width::default(), ruling(3));
        assert_eq!(verdicts.find(&flow(80), Instant::now()), Some(&ruling(3)));
        verdicts.forget(Epoch {
            policy: 3,
            state: 0,
        });
        assert_eq!(verdicts.len(), 1);
        verdicts.forget(Epoch {
            policy: 3,
            state: 1,
        });
        assert_eq!(verdicts.find(&flow(80), Instant::now()), None);
    }

    #[test]
    fn however_many_are_given_few_are_kept() {
        let mut verdicts = Verdicts::default();
        for port in 0..10_000 {
            verdicts.keep(&flow(port), of(port), ruling(1));
        }
        assert_eq!(verdicts.len(), MOST);
        assert!(
            verdicts.find(&flow(9_999), Instant::now()).is_some()
                && verdicts.find(&flow(0), Instant::now()).is_none()
        );
        verdicts.keep(&flow(9_999), of(9_999), ruling(2));
        assert_eq!(verdicts.len(), MOST);
        assert_eq!(
            verdicts.find(&flow(9_999), Instant::now()),
            Some(&ruling(2))
        );
    }

    /// Known attack: a peer knocks at each port, and the guest's own flows are asked about each time.
    #[test]
    fn verdicts_on_what_others_begin_displace_none_of_the_guests_own() {
        let mut verdicts = Verdicts::default();
        verdicts.keep(&flow(443), of(443), ruling(1));
        for port in 0..1000 {
            verdicts.keep(&begun_by_others(port), of(port), ruling(1));
        }
        assert_eq!(verdicts.find(&flow(443), Instant::now()), Some(&ruling(1)));
        assert_eq!(verdicts.len(), MOST + 1);
        // What was decided of one direction is no word on the other, however wide it says it is.
        assert_eq!(verdicts.find(&flow(999), Instant::now()), None);
    }

    /// Known attack: somebody outside knocks at each port, and other guests' flows are asked about each time.
    #[test]
    fn verdicts_on_what_begins_outside_displace_none_on_what_guests_begin() {
        let mut verdicts = Verdicts::default();
        verdicts.keep(&begun_by_others(443), of(443), ruling(1));
        let outside = |port| Flow {
            outside: true,
            ..begun_by_others(port)
        };
        for port in 0..1000 {
            verdicts.keep(&outside(port), of(port), ruling(2));
        }
        let found = |flow: &Flow| verdicts.find(flow, Instant::now()).cloned();
        assert_eq!(found(&begun_by_others(443)), Some(ruling(1)));
        assert_eq!(found(&outside(999)), Some(ruling(2)));
        assert_eq!(found(&begun_by_others(999)), None);
    }
}
