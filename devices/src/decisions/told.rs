//! What was decided of guests as a whole, whether their devices are there or not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bartizan_local::flow::{Epoch, Fallback, Guest, Resolvers};

/// Most guests of which it is kept, and most VMs that are cut off; devices have places for fewer.
const MOST: usize = 4096;

/// By guest what holds in its boot; by VM whether it is cut off, since that holds in the boots that come.
///
/// Who decides knows of a guest before it is admitted here, and says so: what is told of one that never was is kept, until a
/// later boot of its VM is admitted.
#[derive(Debug, Default)]
pub(super) struct Told {
    by_guest: HashMap<Guest, Holds>,
    admitted: HashSet<Guest>,
    isolated: HashSet<[u8; 16]>,
}

/// What holds of a guest.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Holds {
    pub(super) epoch: Epoch,
    /// What may begin while nobody can decide.
    pub(super) fallback: Option<Arc<Fallback>>,
    /// Whose DNS answers count.
    pub(super) resolvers: Option<Arc<Resolvers>>,
}

impl Told {
    pub(super) fn of(&self, guest: Guest) -> Holds {
        self.by_guest.get(&guest).cloned().unwrap_or_default()
    }

    pub(super) fn is_isolated(&self, guest: Guest) -> bool {
        self.isolated.contains(&guest.vm)
    }

    /// Somebody else tells from now on, and may count from the beginning. Who is cut off stays so until that one says otherwise.
    pub(super) fn begin_anew(&mut self) {
        for holds in self.by_guest.values_mut() {
            *holds = Holds::default();
        }
    }

    /// The VMs that are cut off.
    pub(super) fn isolated(&self) -> impl Iterator<Item = [u8; 16]> {
        self.isolated.iter().copied()
    }

    /// Neither number ever goes down. Returns what holds now.
    pub(super) fn enter(&mut self, guest: Guest, epoch: Epoch) -> Epoch {
        let known = self.of(guest);
        let epoch = Epoch {
            policy: known.epoch.policy.max(epoch.policy),
            state: known.epoch.state.max(epoch.state),
        };
        self.set(guest, Holds { epoch, ..known });
        epoch
    }

    /// What may begin while nobody can decide.
    pub(super) fn fall_back(&mut self, fallback: &Arc<Fallback>) {
        let guest = fallback.of.guest;
        let fallback = Some(Arc::clone(fallback));
        let known = self.of(guest);
        self.set(guest, Holds { fallback, ..known });
    }

    /// Whose DNS answers count.
    pub(super) fn believe(&mut self, resolvers: &Arc<Resolvers>) {
        let guest = resolvers.guest;
        let resolvers = Some(Arc::clone(resolvers));
        let known = self.of(guest);
        self.set(guest, Holds { resolvers, ..known });
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

    /// A guest's boot begins: those before it are over.
    pub(super) fn admit(&mut self, guest: Guest) {
        self.admitted.insert(guest);
        self.by_guest
            .retain(|other, _| other.vm != guest.vm || other.boot >= guest.boot);
    }

    /// Of all that were admitted only these are: the others' boots are over. That a VM is cut off outlives its boot.
    ///
    /// Known attack: the end of one guest has it forgotten what holds of another, which is about to start.
    pub(super) fn retain(&mut self, admitted: &[Guest]) {
        let admitted: HashSet<_> = admitted.iter().copied().collect();
        let former = std::mem::replace(&mut self.admitted, admitted);
        let is_over = |guest: &Guest| former.contains(guest) && !self.admitted.contains(guest);
        self.by_guest.retain(|guest, _| !is_over(guest));
    }

    fn set(&mut self, guest: Guest, holds: Holds) {
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
        self.by_guest.insert(guest, holds);
    }

    /// Forgets one that is not admitted.
    fn make_room(&mut self) {
        let mut guests = self.by_guest.keys();
        let other = guests.find(|guest| !self.admitted.contains(guest)).copied();
        if let Some(guest) = other {
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

    const EPOCH: Epoch = Epoch {
        policy: 3,
        state: 1,
    };

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
        told.enter(guest(1, 1), EPOCH);
        told.enter(guest(2, 5), EPOCH);
        told.retain(&[]);
        assert_eq!(told.of(guest(1, 1)), Holds::default());
        assert_eq!(told.of(guest(2, 5)).epoch, EPOCH);
        told.admit(guest(2, 5));
        assert_eq!(told.of(guest(2, 5)).epoch, EPOCH);
        // Its end, before anything else was retained, and after.
        told.retain(&[]);
        assert!(told.by_guest.is_empty());
    }

    #[test]
    fn a_later_boot_ends_what_is_kept_of_one_that_never_came() {
        let mut told = Told::default();
        for boot in 1..=3 {
            told.enter(guest(1, boot), EPOCH);
        }
        told.admit(guest(1, 2));
        let left: HashSet<_> = told.by_guest.keys().copied().collect();
        assert_eq!(left, HashSet::from([guest(1, 2), guest(1, 3)]));
    }

    #[test]
    fn guests_that_never_come_displace_nobody_who_did() {
        let mut told = Told::default();
        told.admit(guest(0, 1));
        told.enter(guest(0, 1), EPOCH);
        for vm in 1..10_000 {
            told.enter(guest(vm, 1), EPOCH);
        }
        assert_eq!(told.by_guest.len(), MOST);
        assert_eq!(told.of(guest(0, 1)).epoch, EPOCH);
        assert_eq!(told.of(guest(9_999, 1)).epoch, EPOCH);
    }

    /// Known attack: a guest that was cut off is booted anew while nobody decides, or another begins to.
    #[test]
    fn who_is_cut_off_stays_so_in_each_boot_and_whoever_decides() {
        let mut told = Told::default();
        told.enter(guest(1, 1), EPOCH);
        told.isolate(guest(1, 1).vm, true);
        told.begin_anew();
        assert_eq!(told.of(guest(1, 1)).epoch, Epoch::default());
        told.retain(&[]);
        assert!(told.is_isolated(guest(1, 1)) && told.is_isolated(guest(1, 2)));
        assert_eq!(told.isolated().collect::<Vec<_>>(), [guest(1, 1).vm]);
        told.isolate(guest(1, 2).vm, false);
        assert!(!told.is_isolated(guest(1, 2)));
        assert_eq!(told.isolated().count(), 0);
    }

    /// A device that is attached late is told whom to believe; of somebody else's word nothing is.
    #[test]
    fn whom_a_guest_believes_holds_until_somebody_else_tells() {
        let mut told = Told::default();
        let resolvers = Arc::new(Resolvers {
            guest: guest(1, 1),
            servers: vec![[10, 0, 0, 53].into()],
        });
        told.believe(&resolvers);
        told.enter(guest(1, 1), EPOCH);
        let Holds {
            resolvers: kept, ..
        } = told.of(guest(1, 1));
        assert_eq!(kept, Some(resolvers));
        assert_eq!(told.of(guest(1, 2)), Holds::default());
        told.begin_anew();
        assert_eq!(told.of(guest(1, 1)), Holds::default());
    }

    #[test]
    fn who_is_cut_off_is_remembered_within_bounds() {
        let mut told = Told::default();
        for number in 0..MOST as u128 + 9 {
            told.isolate(number.to_be_bytes(), true);
        }
        assert_eq!(told.isolated().count(), MOST);
    }
}
