//! What changes for many flows at once: by what they are decided, by whom, and what is known of their peers.

use std::time::Instant;

use bartizan_local::flow::{Epoch, Fallback, Question};

use super::entry::Standing;
use super::fallback::Fallen;
use super::table::Flows;
use crate::net::dns::Changed;

impl Flows {
    /// From now on nothing is judged by what was decided before this epoch. Returns the one that is in force.
    pub fn enter(&mut self, epoch: Epoch) -> Epoch {
        self.epoch.policy = self.epoch.policy.max(epoch.policy);
        self.epoch.state = self.epoch.state.max(epoch.state);
        self.verdicts.forget(self.epoch);
        self.epoch
    }

    /// Of these peers something else is known than before: flows with them are asked about again, each at its next packet.
    pub fn peers_changed(&mut self, peers: &Changed, now: Instant) {
        match peers {
            Changed::Of(peers) => self.verdicts.forget_peers(peers),
            Changed::Any => self.verdicts.clear(),
        }
        let theirs = self
            .entries
            .iter()
            .filter(|(key, one)| one.is_judged() && peers.contains(key.peer()));
        let theirs: Vec<_> = theirs.map(|(key, _)| *key).collect();
        for key in theirs {
            self.stand(key, Standing::Lapsed, now);
        }
    }

    /// Somebody else decides from now on: each flow is asked about again, at its next packet, since what was decided before is another's word.
    pub fn begin_anew(&mut self) {
        self.judge += 1;
        self.epoch = Epoch::default();
        self.verdicts.clear();
        self.fallback = Fallen::default();
    }

    /// These flows may begin while nobody can decide.
    pub fn fall_back(&mut self, fallback: &Fallback) {
        self.fallback = Fallen::told(fallback, self.judge);
    }

    /// Whether somebody can decide now. Who can is asked all that is not answered yet.
    pub fn set_available(&mut self, is_available: bool, now: Instant) {
        self.is_available = is_available;
        if !is_available {
            return;
        }
        self.questions.clear();
        for (number, key) in self.asked.all() {
            if let Some(entry) = self.entries.get(&key) {
                self.questions.push(Question {
                    number,
                    guest: self.guest,
                    flow: key.flow(entry.begun),
                    since_s: entry.stage(now).age.as_secs(),
                });
            }
        }
    }
}
