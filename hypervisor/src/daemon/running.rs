//! The guests that run, for whoever follows them: the enclave.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_attestation::host::RunningGuest;
use bartizan_attestation::identity::GuestIdentity;
use tokio::sync::watch;
use uuid::Uuid;

use super::started::Started;

/// Of each VM the boot that runs, or is about to.
pub(super) type Boots = BTreeMap<Uuid, Arc<RunningGuest>>;

/// All that run.
#[derive(Debug, Default)]
pub(super) struct Running(watch::Sender<Boots>);

impl Running {
    /// A boot runs, or is about to, in the place of its VM's former one.
    pub(super) fn runs(&self, started: &Started) {
        let guest = started.guest;
        let running = RunningGuest {
            guest,
            record: started.record.clone(),
            ordered_at_s: started.ordered_at_s,
        };
        self.0.send_if_modified(|boots| {
            let known = boots.insert(Uuid::from_bytes(guest.vm), Arc::new(running));
            known.is_none_or(|known| known.guest != guest)
        });
    }

    /// A VM does not run any more.
    pub(super) fn ended(&self, vm: Uuid) {
        self.0.send_if_modified(|boots| boots.remove(&vm).is_some());
    }

    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Follows them.
    pub(super) fn follow(&self) -> watch::Receiver<Boots> {
        self.0.subscribe()
    }
}

/// What is to be told to whoever was told these: who runs that was not, and who does not any more.
pub(super) fn changes(
    told: &BTreeMap<Uuid, GuestIdentity>,
    boots: &Boots,
) -> (Vec<Arc<RunningGuest>>, Vec<GuestIdentity>) {
    let is_told = |vm: &Uuid, boot: &RunningGuest| told.get(vm) == Some(&boot.guest);
    let new = boots.iter().filter(|(vm, boot)| !is_told(vm, boot));
    let ended = told.iter().filter(|(vm, _)| !boots.contains_key(vm));
    (
        new.map(|(_, boot)| Arc::clone(boot)).collect(),
        ended.map(|(_, guest)| *guest).collect(),
    )
}
