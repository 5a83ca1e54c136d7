//! Who of this host's guests has a place: its UUID, its name, its CID and its addresses are no other guest's meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_attestation::host::GuestState;
use bartizan_attestation::identity::GuestIdentity;
use uuid::Uuid;

use super::claim::Claim;
use super::guest::Guest;
use super::pending::Pending;
use super::unheard::Unheard;

/// The lowest CID that is no reserved one (virtio 1.2 section 5.10.4).
const FIRST_CID: u32 = 3;

/// All places, by UUID.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Uuid, Place>);

/// A guest's place.
#[derive(Debug)]
pub(super) enum Place {
    /// It is being started.
    Starting {
        /// Who.
        pending: Arc<Pending>,
        /// Its CID.
        cid: u32,
    },
    /// Its policy starts it again in a while.
    Waiting(Arc<Pending>),
    Running(Arc<Guest>),
    /// It has not ended, and this daemon has not heard its supervisor.
    Unheard(Arc<Unheard>),
}

/// A guest that has a place, as far as the daemon knows it.
pub(super) enum Known {
    Pending(Arc<Pending>, GuestState),
    Guest(Arc<Guest>),
    Unheard(Arc<Unheard>),
}

/// Why a guest cannot have a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// Its UUID or its name are another's.
    Guest,
    /// Its MAC or IP address on its segment is that of the guest of this name.
    Address(String),
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, vm: Uuid) -> bool {
        self.0.contains_key(&vm)
    }

    /// Takes a place for a start, and a CID that no other guest has, which it returns.
    pub(super) fn reserve(&mut self, pending: &Arc<Pending>) -> Result<u32, Taken> {
        if self.has(pending.vm) || self.is_taken(&pending.name) {
            return Err(Taken::Guest);
        }
        if let Some(claim) = &pending.claim {
            let mut others = self.0.values().map(Place::known);
            let clashes = |other: &Known| other.claim().is_some_and(|other| claim.clashes(&other));
            if let Some(other) = others.find(clashes) {
                return Err(Taken::Address(other.name().to_owned()));
            }
        }
        Ok(self.start(pending))
    }

    /// The place of a boot that has ended becomes one that waits; `None` if somebody else has it or starts there already.
    pub(super) fn wait(&mut self, ended: &GuestIdentity, pending: &Arc<Pending>) -> Option<()> {
        if self.has(pending.vm) && !self.is_of(ended) {
            return None;
        }
        let waits = Place::Waiting(Arc::clone(pending));
        self.0.insert(pending.vm, waits);
        Some(())
    }

    /// From waiting to being started: its CID, unless it does not wait any more.
    pub(super) fn resume(&mut self, pending: &Arc<Pending>) -> Option<u32> {
        match self.0.get(&pending.vm) {
            Some(Place::Waiting(waits)) if Arc::ptr_eq(waits, pending) => Some(self.start(pending)),
            _ => None,
        }
    }

    /// Gives a guest the place of one that was not heard, in one step from that of its start, or where it has none.
    pub(super) fn put_unheard(
        &mut self,
        vm: Uuid,
        start: Option<&Arc<Pending>>,
        unheard: Arc<Unheard>,
    ) -> bool {
        let own = match start {
            Some(pending) => self.is_starting(pending),
            None => !self.has(vm),
        };
        if own {
            self.put(vm, Place::Unheard(unheard));
        }
        own
    }

    /// A start failed and is not tried again.
    pub(super) fn leave_starting(&mut self, pending: &Arc<Pending>) {
        if self.is_starting(pending) {
            self.0.remove(&pending.vm);
        }
    }

    /// From a start that failed back to waiting, unless it was cancelled meanwhile. Whether it waits.
    pub(super) fn wait_again(&mut self, pending: &Arc<Pending>) -> bool {
        if !self.is_starting(pending) {
            return false;
        }
        if pending.is_cancelled() {
            self.0.remove(&pending.vm);
            return false;
        }
        let waits = Place::Waiting(Arc::clone(pending));
        self.0.insert(pending.vm, waits);
        true
    }

    /// Takes the place of a guest that waits; whether it did.
    pub(super) fn leave_waiting(&mut self, pending: &Arc<Pending>) -> bool {
        let waits = matches!(self.0.get(&pending.vm), Some(Place::Waiting(waits)) if Arc::ptr_eq(waits, pending));
        if waits {
            self.0.remove(&pending.vm);
        }
        waits
    }

    fn start(&mut self, pending: &Arc<Pending>) -> u32 {
        let taken: Vec<_> = self.0.values().filter_map(Place::cid).collect();
        let cid = (FIRST_CID..)
            .find(|cid| !taken.contains(cid))
            .unwrap_or(FIRST_CID);
        let starts = Place::Starting {
            pending: Arc::clone(pending),
            cid,
        };
        self.0.insert(pending.vm, starts);
        cid
    }

    fn is_starting(&self, pending: &Arc<Pending>) -> bool {
        let place = self.0.get(&pending.vm);
        matches!(place, Some(Place::Starting { pending: starts, .. }) if Arc::ptr_eq(starts, pending))
    }

    fn is_taken(&self, name: &str) -> bool {
        self.0.values().any(|place| place.known().name() == name)
    }

    pub(super) fn put(&mut self, vm: Uuid, place: Place) {
        self.0.insert(vm, place);
    }

    /// A boot has ended; a guest that is wanted anew keeps its place.
    pub(super) fn leave(&mut self, ended: &GuestIdentity) {
        if self.is_of(ended) {
            self.0.remove(&Uuid::from_bytes(ended.vm));
        }
    }

    /// Whether a boot has its VM's place.
    fn is_of(&self, boot: &GuestIdentity) -> bool {
        let place = self.0.get(&Uuid::from_bytes(boot.vm));
        place.and_then(|place| place.known().boot()) == Some(*boot)
    }

    /// What guest has a place.
    pub(super) fn of(&self, vm: Uuid) -> Option<Known> {
        self.0.get(&vm).map(Place::known)
    }

    /// All guests that have a place.
    pub(super) fn known(&self) -> Vec<Known> {
        self.0.values().map(Place::known).collect()
    }
}

impl Place {
    fn cid(&self) -> Option<u32> {
        match self {
            Self::Starting { cid, .. } => Some(*cid),
            Self::Waiting(_) => None,
            Self::Running(guest) => Some(guest.cid),
            Self::Unheard(guest) => Some(guest.cid),
        }
    }

    fn known(&self) -> Known {
        match self {
            Self::Starting { pending, .. } => {
                Known::Pending(Arc::clone(pending), GuestState::Starting)
            }
            Self::Waiting(pending) => Known::Pending(Arc::clone(pending), GuestState::Restarting),
            Self::Running(guest) => Known::Guest(Arc::clone(guest)),
            Self::Unheard(guest) => Known::Unheard(Arc::clone(guest)),
        }
    }
}

impl Known {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Pending(pending, _) => &pending.name,
            Self::Guest(guest) => &guest.record.name,
            Self::Unheard(guest) => &guest.name,
        }
    }

    /// Its boot, once that has an identity.
    pub(super) fn boot(&self) -> Option<GuestIdentity> {
        match self {
            Self::Pending(..) => None,
            Self::Guest(guest) => Some(guest.identity),
            Self::Unheard(guest) => Some(guest.identity),
        }
    }

    /// What it is on its segment, as far as it is known: of a guest whose record is not verified, by what was noted.
    fn claim(&self) -> Option<Claim> {
        match self {
            Self::Pending(pending, _) => pending.claim.clone(),
            Self::Guest(guest) => Claim::of(guest.record.uuid, guest.record.network.as_ref()),
            Self::Unheard(guest) => guest.claim.clone(),
        }
    }

    pub(super) fn vm(&self) -> Uuid {
        match self {
            Self::Pending(pending, _) => pending.vm,
            Self::Guest(guest) => Uuid::from_bytes(guest.identity.vm),
            Self::Unheard(guest) => Uuid::from_bytes(guest.identity.vm),
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;
    use bartizan_attestation::launch::Network;

    use super::*;

    fn pending(vm: u128, name: &str) -> Arc<Pending> {
        Arc::new(Pending::named(Uuid::from_u128(vm), name))
    }

    fn boot(vm: u128) -> GuestIdentity {
        GuestIdentity {
            card: CardId([1; 32]),
            vm: vm.to_be_bytes(),
            boot: 7,
        }
    }

    #[test]
    fn uuid_name_and_cid_are_one_guests_from_the_beginning_of_its_start() {
        let mut places = Places::default();
        let first = pending(1, "web");
        assert_eq!(places.reserve(&first), Ok(FIRST_CID));
        // Both are still being started.
        assert_eq!(places.reserve(&pending(2, "web")), Err(Taken::Guest));
        assert_eq!(places.reserve(&pending(1, "mail")), Err(Taken::Guest));
        assert_eq!(places.reserve(&pending(2, "mail")), Ok(FIRST_CID + 1));
        // It is not a guest that has ended.
        places.leave(&boot(1));
        assert!(places.has(first.vm));
        places.leave_starting(&first);
        assert_eq!(places.reserve(&pending(3, "web")), Ok(FIRST_CID));
    }

    #[test]
    fn an_address_is_one_guests_on_its_segment_from_the_beginning_of_its_start() {
        let with = |vm: u128, name: &str, segment: &str, address: &str| {
            let network = Network {
                segment: segment.into(),
                mac: None,
                ipv4: Some(address.parse().unwrap()),
                ipv6: None,
                gateway: None,
                mtu: 1500,
            };
            let vm = Uuid::from_u128(vm);
            let claim = Claim::of(vm, Some(&network));
            let mut pending = Pending::named(vm, name);
            pending.claim = claim;
            Arc::new(pending)
        };
        let mut places = Places::default();
        let first = with(1, "web", "front", "10.0.0.1/24");
        assert_eq!(places.reserve(&first), Ok(FIRST_CID));
        let same = with(2, "mail", "front", "10.0.0.1/8");
        let taken = Err(Taken::Address("web".into()));
        assert_eq!(places.reserve(&same), taken);
        let elsewhere = with(3, "dns", "back", "10.0.0.1/24");
        assert!(places.reserve(&elsewhere).is_ok());
        places.leave_starting(&first);
        assert!(places.reserve(&same).is_ok());
        // The very same guest, which waits to be started again, keeps its own.
        assert!(places.wait_again(&same) && places.resume(&same).is_some());
    }

    #[test]
    fn guest_that_waits_keeps_its_name_until_it_is_started_or_cancelled() {
        let mut places = Places::default();
        let waits = pending(1, "web");
        assert!(places.wait(&boot(1), &waits).is_some());
        let again = places.wait(&boot(1), &pending(1, "web"));
        assert!(again.is_none(), "waits twice");
        assert_eq!(places.reserve(&pending(2, "web")), Err(Taken::Guest));
        // Its CID is not its own meanwhile.
        assert_eq!(places.reserve(&pending(2, "mail")), Ok(FIRST_CID));
        assert_eq!(places.resume(&waits), Some(FIRST_CID + 1));
        assert_eq!(places.resume(&waits), None, "started twice");
        assert!(places.wait_again(&waits));
        assert_eq!(places.resume(&waits), Some(FIRST_CID + 1));
        waits.cancel();
        assert!(!places.wait_again(&waits));
        assert!(!places.has(waits.vm));
        let other = pending(1, "web");
        assert!(places.wait(&boot(1), &other).is_some());
        // The former one's is over.
        assert_eq!(places.resume(&waits), None);
        assert!(!places.leave_waiting(&waits) && places.leave_waiting(&other));
    }
}
