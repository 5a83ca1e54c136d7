//! What was decided of guests as a whole, whether their devices are there or not.

use std::collections::HashMap;

use bartizan_local::flow::{Epoch, Guest};

/// Most guests of which it is kept; devices have places for fewer.
const MOST: usize = 4096;

/// By guest: the epoch, and whether it is isolated.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<Guest, (Epoch, bool)>);

impl Told {
    pub(super) fn of(&self, guest: Guest) -> (Epoch, bool) {
        self.0.get(&guest).copied().unwrap_or_default()
    }

    /// Somebody else tells from now on, and may count from the beginning. Who is cut off stays so until that one says otherwise.
    pub(super) fn begin_anew(&mut self) {
        for (epoch, _) in self.0.values_mut() {
            *epoch = Epoch::default();
        }
    }

    /// Neither number ever goes down. Returns what holds now.
    pub(super) fn enter(&mut self, guest: Guest, epoch: Epoch) -> Epoch {
        let (mut known, isolated) = self.of(guest);
        known.policy = known.policy.max(epoch.policy);
        known.state = known.state.max(epoch.state);
        self.set(guest, (known, isolated));
        known
    }

    pub(super) fn isolate(&mut self, guest: Guest, isolated: bool) {
        let (epoch, _) = self.of(guest);
        self.set(guest, (epoch, isolated));
    }

    pub(super) fn retain(&mut self, guests: &[Guest]) {
        self.0.retain(|guest, _| guests.contains(guest));
    }

    fn set(&mut self, guest: Guest, told: (Epoch, bool)) {
        if self.0.len() >= MOST && !self.0.contains_key(&guest) {
            tracing::error!(
                ?guest,
                "what was decided of a guest is not kept: there are too many"
            );
            return;
        }
        self.0.insert(guest, told);
    }
}
