//! What was decided of guests as a whole, whether their devices are there or not.

use std::collections::{HashMap, HashSet};

use bartizan_local::flow::{Epoch, Guest};

/// Most guests of which it is kept: devices have places for fewer.
const MOST: usize = 4096;

/// By guest: the epoch, and whether it is isolated.
///
/// Who decides knows of a guest before it is admitted here, and says so: what is told of one that never was is kept, until a
/// later boot of its VM is admitted.
#[derive(Debug, Default)]
pub(super) struct Told {
    by_guest: HashMap<Guest, (Epoch, bool)>,
    admitted: HashSet<Guest>,
}

impl Told {
    pub(super) fn of(&self, guest: Guest) -> (Epoch, bool) {
        self.by_guest.get(&guest).copied().unwrap_or_default()
    }

    /// Somebody else tells from now on, and may count from the beginning. Who is cut off stays so until that one says otherwise.
    pub(super) fn begin_anew(&mut self) {
        for (epoch, _) in self.by_guest.values_mut() {
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

    /// A guest's boot begins: those before it are over.
    pub(super) fn admit(&mut self, guest: Guest) {
        self.admitted.insert(guest);
        self.by_guest
            .retain(|other, _| other.vm != guest.vm || other.boot >= guest.boot);
    }

    /// Of all that were admitted only these are: the others' boots are over.
    ///
    /// Known attack: the end of one guest has it forgotten that another, which is about to start, is isolated.
    pub(super) fn retain(&mut self, admitted: &[Guest]) {
        let admitted: HashSet<_> = admitted.iter().copied().collect();
        let former = std::mem::replace(&mut self.admitted, admitted);
        let is_over = |guest: &Guest| former.contains(guest) && !self.admitted.contains(guest);
        self.by_guest.retain(|guest, _| !is_over(guest));
    }

    fn set(&mut self, guest: Guest, told: (Epoch, bool)) {
        if self.by_guest.len() >= MOST && !self.by_guest.contains_key(&guest) {
            self.make_room();
        }
        if self.by_guest.len() >= MOST && !self.by_guest.contains_key(&guest) {
            tracing::error!(
                ?guest,
                "what was decided of a guest is not kept: there are too many"
            );
            return;
        }
        self.by_guest.insert(guest, told);
    }

    /// Forgets one that is not admitted, and is not isolated unless all of those are.
    fn make_room(&mut self) {
        let others = self.by_guest.iter();
        let others = others.filter(|(guest, _)| !self.admitted.contains(guest));
        let least = others.min_by_key(|(_, (_, isolated))| *isolated);
        if let Some(guest) = least.map(|(guest, _)| *guest) {
            tracing::warn!(
                ?guest,
                "what was decided of a guest that never came is forgotten"
            );
            self.by_guest.remove(&guest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(vm: u16, boot: u64) -> Guest {
        let mut uuid = [0; 16];
        uuid[..2].copy_from_slice(&vm.to_be_bytes());
        Guest { vm: uuid, boot }
    }

    /// Known attack: see [`Told::retain`].
    #[test]
    fn what_is_told_of_a_boot_that_is_about_to_be_admitted_is_kept() {
        let mut told = Told::default();
        told.admit(guest(1, 1));
        told.isolate(guest(1, 1), true);
        told.isolate(guest(2, 5), true);
        told.retain(&[]);
        assert!(!told.of(guest(1, 1)).1 && told.of(guest(2, 5)).1);
        told.admit(guest(2, 5));
        assert!(told.of(guest(2, 5)).1);
        // Its end, before anything else was retained, and after.
        told.retain(&[]);
        assert!(told.by_guest.is_empty());
    }

    #[test]
    fn a_later_boot_ends_what_is_kept_of_one_that_never_came() {
        let mut told = Told::default();
        for boot in 1..=3 {
            told.isolate(guest(1, boot), true);
        }
        told.admit(guest(1, 2));
        let left: HashSet<_> = told.by_guest.keys().copied().collect();
        assert_eq!(left, HashSet::from([guest(1, 2), guest(1, 3)]));
    }

    #[test]
    fn guests_that_never_come_displace_nobody_who_did_and_nobody_isolated() {
        let mut told = Told::default();
        told.admit(guest(0, 1));
        told.isolate(guest(0, 1), true);
        told.isolate(guest(1, 1), true);
        let epoch = Epoch {
            policy: 1,
            state: 1,
        };
        for vm in 2..10_000 {
            told.enter(guest(vm, 1), epoch);
        }
        assert_eq!(told.by_guest.len(), MOST);
        assert!(told.of(guest(0, 1)).1 && told.of(guest(1, 1)).1);
        assert_eq!(told.of(guest(9_999, 1)).0, epoch);
        for vm in 10_000..20_000 {
            told.isolate(guest(vm, 1), true);
        }
        assert!(told.of(guest(0, 1)).1 && told.of(guest(19_999, 1)).1);
    }
}
