//! What rules at present, shared by the links of this enclave: one decider, and who waits for it to change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_attestation::evidence::Taken;
use bartizan_local::flow::Guest as GuestBoot;
use bartizan_policy::{Policy, TooLarge, Trust};
use tokio::sync::watch;

use crate::deciding::{Decider, Isolated};
use crate::witness::Witness;

/// What rules at present.
#[derive(Debug)]
pub struct Ruling {
    decider: Mutex<Decider>,
    /// Counts what has changed.
    changes: watch::Sender<u64>,
    /// The newest set by which every packet is judged.
    in_force: watch::Sender<u64>,
    /// What happened by that.
    witness: Witness,
}

impl Default for Ruling {
    fn default() -> Self {
        Self {
            decider: Mutex::default(),
            changes: watch::Sender::new(0),
            in_force: watch::Sender::new(0),
            witness: Witness::default(),
        }
    }
}

impl Ruling {
    /// Whether the policies of each guest that runs can be held together.
    pub fn check_policies(&self, policies: &Arc<[Policy]>) -> Result<(), TooLarge> {
        self.decider().check(policies)
    }

    /// Has a set of policies rule from now on. A guest whose policies cannot be held together is denied everything.
    pub fn rule(&self, set: u64, policies: impl Into<Arc<[Policy]>>) {
        self.change(|decider| drop(decider.rule(set, policies)));
    }

    /// Cuts VMs that were cut before this machine was started.
    pub(crate) fn isolated_before(&self, vms: &BTreeSet<[u8; 16]>) {
        self.change(|decider| decider.isolated_before(vms));
    }

    /// The VMs that are cut from every network, in whichever boot.
    pub(crate) fn isolated_vms(&self) -> BTreeSet<[u8; 16]> {
        self.decider().isolated().clone()
    }

    /// What a boot of a guest was last found to be.
    pub fn trust(&self, boot: GuestBoot, trust: Trust) {
        let former = self.change(|decider| {
            let former = decider.taken_for(boot);
            decider.trusts(boot, trust);
            former
        });
        if former != trust {
            let taken_for = match trust {
                Trust::None => Taken::None,
                Trust::Affirming => Taken::Affirming,
                Trust::Contraindicated => Taken::Contraindicated,
            };
            self.witness.taken_for(boot, taken_for);
        }
    }

    /// What happened and is in no evidence yet.
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Cuts a guest from every network, or takes that back.
    pub fn isolate(&self, boot: GuestBoot, isolated: bool) -> Isolated {
        self.change(|decider| decider.isolate(boot, isolated))
    }

    /// Tells of each set that is in force for every packet of every guest, from its acknowledgement by devices on.
    pub fn in_force(&self) -> watch::Receiver<u64> {
        self.in_force.subscribe()
    }

    /// Changes something, and has everybody look at what is different then.
    pub(crate) fn change<T>(&self, how: impl FnOnce(&mut Decider) -> T) -> T {
        let (done, in_force) = {
            let mut decider = self.decider();
            let done = how(&mut decider);
            (done, decider.in_force())
        };
        self.in_force
            .send_if_modified(|former| std::mem::replace(former, in_force) != in_force);
        self.changes.send_modify(|count| *count += 1);
        done
    }

    /// Looks at what rules.
    pub(crate) fn decider(&self) -> MutexGuard<'_, Decider> {
        self.decider.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
