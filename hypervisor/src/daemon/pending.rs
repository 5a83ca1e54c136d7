//! A guest that an operator or its policy wants to run, and that does not run yet. An operator may change their mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bartizan_attestation::host::{GuestState, GuestSummary};
use bartizan_attestation::launch::LaunchRecord;
use uuid::Uuid;

use super::claim::Claim;

/// What is wanted.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) vm: Uuid,
    pub(super) name: String,
    /// What it is on its segment.
    pub(super) claim: Option<Claim>,
    role: String,
    cancelled: AtomicBool,
}

impl Pending {
    pub(super) fn new(record: &LaunchRecord) -> Arc<Self> {
        Arc::new(Self {
            vm: record.uuid,
            name: record.name.clone(),
            claim: Claim::of(record.uuid, record.network.as_ref()),
            role: record.role.clone(),
            cancelled: AtomicBool::new(false),
        })
    }

    #[cfg(test)]
    pub(super) fn named(vm: Uuid, name: &str) -> Self {
        Self {
            vm,
            name: name.to_owned(),
            claim: None,
            role: String::new(),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Nobody wants it any more: whoever starts it must look, after what they note and before QEMU is started.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Its boot has no identity yet: it is named by its UUID.
    pub(super) fn summary(&self, state: GuestState) -> GuestSummary {
        GuestSummary {
            name: self.name.clone(),
            guest: self.vm.to_string(),
            role: self.role.clone(),
            state,
            enrolled: false,
        }
    }
}
