//! The daemon's notes of boots, changed by one task at a time, and what operators ordered meanwhile: where the notes cannot be
//! written (a full disk), this daemon holds to the orders all the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bartizan_attestation::identity::GuestIdentity;
use uuid::Uuid;

use super::pending::Pending;
use super::started::{Started, StartedError};

/// All notes.
#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    last: u64,
    /// The newest of each VM.
    stops: BTreeMap<Uuid, Stop>,
}

/// An operator's order that a boot be the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stop {
    number: u64,
    pub(super) guest: GuestIdentity,
    /// What was noted before.
    before: bool,
}

impl Notes {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            orders: Mutex::default(),
        }
    }

    /// The VMs that there are notes of.
    pub(super) fn all(&self) -> Result<Vec<Uuid>, StartedError> {
        Started::all(&self.folder)
    }

    /// The note of a VM's newest boot.
    pub(super) fn load(&self, vm: Uuid) -> Result<Option<Started>, StartedError> {
        Started::load(&self.folder, vm)
    }

    /// Notes what is known now of a boot that is being started. What an operator cancels stays stopped.
    pub(super) fn of_boot(
        &self,
        started: &mut Started,
        pending: &Pending,
    ) -> Result<(), StartedError> {
        let _one = self.orders();
        started.stopped |= pending.is_cancelled();
        started.store(&self.folder)
    }

    /// Orders that a VM's newest boot be the last, which holds even if it cannot be noted; `None` where it has none.
    pub(super) fn stop(&self, vm: Uuid) -> (Option<Stop>, Result<(), StartedError>) {
        let mut orders = self.orders();
        let started = match self.load(vm) {
            Ok(Some(started)) => started,
            Ok(None) => return (None, Ok(())),
            Err(error) => return (None, Err(error)),
        };
        orders.last += 1;
        // What an order before this one noted of the same boot is not what was noted before.
        let former = orders.stops.get(&vm);
        let former = former.filter(|former| former.guest == started.guest);
        let stop = Stop {
            number: orders.last,
            guest: started.guest,
            before: former.map_or(started.stopped, |former| former.before),
        };
        orders.stops.insert(vm, stop);
        let stopped = Started {
            stopped: true,
            ..started
        };
        (Some(stop), stopped.store(&self.folder))
    }

    /// The guest runs on: the order is taken back, unless there is a newer one.
    pub(super) fn take_back(&self, stop: Stop) -> Result<(), StartedError> {
        let mut orders = self.orders();
        let vm = Uuid::from_bytes(stop.guest.vm);
        if orders.stops.get(&vm) != Some(&stop) {
            return Ok(());
        }
        orders.stops.remove(&vm);
        match self.load(vm)? {
            Some(started) if started.guest == stop.guest => Started {
                stopped: stop.before,
                ..started
            }
            .store(&self.folder),
            _ => Ok(()),
        }
    }

    /// Whether a boot is to be the last.
    pub(super) fn is_stopped(&self, started: &Started) -> bool {
        let orders = self.orders();
        let ordered = orders.stops.get(&started.vm());
        started.stopped || ordered.is_some_and(|stop| stop.guest == started.guest)
    }

    /// A former daemon was to stop a guest that runs, and ended before it was down: nobody waits for that any more.
    pub(super) fn runs_on(&self, started: &Started) -> Result<(), StartedError> {
        let orders = self.orders();
        if !started.stopped || orders.stops.contains_key(&started.vm()) {
            return Ok(());
        }
        tracing::warn!(guest = %started.guest, "it was to be stopped by a daemon that has ended, and runs on");
        let running = Started {
            stopped: false,
            ..started.clone()
        };
        running.store(&self.folder)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;
    use bartizan_local::admission::Ticket;

    use super::*;
    use crate::cgroup::Cgroup;

    fn started(boot: u64) -> Started {
        Started {
            record: Vec::new(),
            ordered_at_s: 0,
            guest: GuestIdentity {
                card: CardId([1; 32]),
                vm: [2; 16],
                boot,
            },
            cid: 3,
            ticket: Ticket::new([4; 32]),
            services: Vec::new(),
            network: None,
            measurement: None,
            group: Cgroup::default(),
            supervisor: None,
            stopped: false,
        }
    }

    #[test]
    fn only_the_newest_order_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::new(folder.path().into());
        let vm = started(1).vm();
        assert_eq!(notes.stop(vm).0, None, "there is no boot");
        started(1).store(folder.path()).unwrap();
        let noted = || notes.load(vm).unwrap().unwrap();
        let (gentle, forced) = (notes.stop(vm).0.unwrap(), notes.stop(vm).0.unwrap());
        notes.take_back(gentle).unwrap();
        assert!(noted().stopped && notes.is_stopped(&started(1)));
        // Neither is carried out: it is as before both.
        notes.take_back(forced).unwrap();
        assert!(!noted().stopped && !notes.is_stopped(&noted()));
        let told = Started {
            stopped: true,
            ..started(1)
        };
        told.store(folder.path()).unwrap();
        let gentle = notes.stop(vm).0.unwrap();
        notes.take_back(gentle).unwrap();
        assert!(noted().stopped, "it was noted before");
        // Another boot is another matter.
        assert!(!notes.is_stopped(&started(2)));
        started(2).store(folder.path()).unwrap();
        let gentle = notes.stop(vm).0.unwrap();
        assert!(noted().stopped);
        notes.take_back(gentle).unwrap();
        assert!(!noted().stopped && !notes.is_stopped(&noted()));
    }

    #[test]
    fn order_holds_where_it_cannot_be_noted_and_against_whoever_starts_it() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::new(folder.path().into());
        started(1).store(folder.path()).unwrap();
        // In the place of the file that is written first.
        let vm = started(1).vm();
        std::fs::create_dir(folder.path().join(format!("{vm}.partial"))).unwrap();
        let (_, noted) = notes.stop(vm);
        assert!(noted.is_err() && notes.is_stopped(&started(1)));
        std::fs::remove_dir(folder.path().join(format!("{vm}.partial"))).unwrap();

        let pending = Pending::named(vm, "web");
        let mut boot = started(2);
        notes.of_boot(&mut boot, &pending).unwrap();
        assert!(!notes.load(vm).unwrap().unwrap().stopped);
        pending.cancel();
        assert!(notes.stop(vm).1.is_ok());
        // What the start notes next does not undo it.
        notes.of_boot(&mut boot, &pending).unwrap();
        assert!(notes.load(vm).unwrap().unwrap().stopped);
    }
}
