//! What was decided of guests as a whole, whether their devices are there or not.

use std::collections::{HashMap, HashSet};

use bartizan_local::flow::{Epoch, Guest};

/// Most guests of which it is kept, and most VMs that are cut off; devices have places for fewer.
const MOST: usize = 4096;

/// By guest the epoch; by VM whether it is cut off, since that holds in the boots that come.
#[derive(Debug, Default)]
pub(super) struct Told {
    epochs: HashMap<Guest, Epoch>,
    isolated: HashSet<[u8; 16]>,
}

impl Told {
    pub(super) fn of(&self, guest: Guest) -> (Epoch, bool) {
        let epoch = self.epochs.get(&guest).copied().unwrap_or_default();
        (epoch, self.isolated.contains(&guest.vm))
    }

    /// Somebody else tells from now on, and may count from the beginning. Who is cut off stays so until that one says otherwise.
    pub(super) fn begin_anew(&mut self) {
        for epoch in self.epochs.values_mut() {
            *epoch = Epoch::default();
        }
    }

    /// The VMs that are cut off.
    pub(super) fn isolated(&self) -> impl Iterator<Item = [u8; 16]> {
        self.isolated.iter().copied()
    }

    /// Neither number ever goes down. Returns what holds now.
    pub(super) fn enter(&mut self, guest: Guest, epoch: Epoch) -> Epoch {
        let (mut known, _) = self.of(guest);
        known.policy = known.policy.max(epoch.policy);
        known.state = known.state.max(epoch.state);
        if self.epochs.len() >= MOST && !self.epochs.contains_key(&guest) {
            tracing::error!(
                ?guest,
                "what was decided of a guest is not kept: there are too many"
            );
        } else {
            self.epochs.insert(guest, known);
        }
        known
    }

    /// Cuts a VM off, or takes that back.
    pub(super) fn isolate(&mut self, vm: [u8; 16], isolated: bool) {
        if !isolated {
            self.isolated.remove(&vm);
        } else if self.isolated.len() < MOST {
            self.isolated.insert(vm);
        } else if !self.isolated.contains(&vm) {
            tracing::error!(
                ?vm,
                "that a VM is cut off is not kept for its next boot: there are too many"
            );
        }
    }

    /// Forgets the epochs of all other guests. That a VM is cut off outlives its boot.
    pub(super) fn retain(&mut self, guests: &[Guest]) {
        self.epochs.retain(|guest, _| guests.contains(guest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn guest(boot: u64) -> Guest {
        Guest { vm: [1; 16], boot }
    }

    /// Known attack: a guest that was cut off is booted anew while nobody decides, or another begins to.
    #[test]
    fn who_is_cut_off_stays_so_in_each_boot_and_whoever_decides() {
        let mut told = Told::default();
        let epoch = Epoch {
            policy: 3,
            state: 1,
        };
        told.enter(guest(1), epoch);
        told.isolate(guest(1).vm, true);
        told.begin_anew();
        assert_eq!(told.of(guest(1)), (Epoch::default(), true));
        told.enter(guest(1), epoch);
        told.retain(&[]);
        assert_eq!(told.of(guest(1)), (Epoch::default(), true));
        assert_eq!(told.of(guest(2)), (Epoch::default(), true));
        assert_eq!(told.isolated().collect::<Vec<_>>(), [guest(1).vm]);
        told.isolate(guest(2).vm, false);
        assert!(!told.of(guest(2)).1);
        assert_eq!(told.isolated().count(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut told = Told::default();
        for number in 0..MOST as u128 + 9 {
            told.isolate(number.to_be_bytes(), true);
        }
        assert_eq!(told.isolated().count(), MOST);
    }
}
