//! Deciding on flows: pure, so that whoever brings questions and takes verdicts is somebody else.
//!
//! ```text
//!   policies (set N) ──┐
//!   guests, trust ─────┼─► one compiled form for each guest ──► a verdict for each question
//!                      └─► what changes for a guest is a new epoch of it, which devices confirm
//! ```
//!
//! Known attack: a verdict outlives what it was decided by. The epoch of a guest goes up with every set of policies, with what the guest is
//! taken for, and with the guests that come and go on its segment, since rules may speak of a peer's role and labels.

mod fallback;
mod forms;
mod guest;
mod isolation;
mod names;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::{
    Epoch, Fallback, Guest as GuestBoot, GuestEpoch, MAX_RESOLVERS, Noted, Question, Resolved,
    Resolvers, Verdict, Width,
};
use bartizan_policy::{Compiled, Policy, TooLarge, Trust};

use forms::Forms;
pub use guest::{Network, WatchedGuest};
pub use isolation::Isolated;
use isolation::Isolation;
pub use names::NotBelieved;
use verdict::{Peers, refusal};

/// The policies that rule, and the guests that they rule.
#[derive(Debug, Default)]
pub struct Decider {
    /// The number of the set; 0 where there is none yet.
    set: u64,
    forms: Forms,
    guests: BTreeMap<GuestBoot, WatchedGuest>,
    /// The last state of any guest: each next one is above all before, so that none goes back where a guest is told of again.
    last_state: u64,
    /// Whether it was said once who runs.
    is_told: bool,
    devices_are_there: bool,
    /// How often devices have come.
    coming: u64,
    /// VMs that are cut from every network, in whichever boot.
    isolation: Isolation,
    /// What the newest boots of VMs were taken for, those among them that nobody has told of yet.
    taken_for: BTreeMap<[u8; 16], (u64, Trust)>,
}

/// In a command, whichever boot of a VM runs: none is the boot 0.
pub const ANY_BOOT: u64 = 0;
/// Most VMs of which it is remembered what they are taken for; what is not remembered is taken for nothing.
const MAX_REMEMBERED: usize = 4096;

impl Decider {
    /// No policies, no guests: everything is denied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The set that rules.
    #[must_use]
    pub const fn set(&self) -> u64 {
        self.set
    }

    /// Whether the policies of each guest can be held together, and those of all guests beside one another.
    ///
    /// Known attack: a set that no single guest's limit refuses has the enclave run out of memory, and is restored when it is started again.
    ///
    /// # Errors
    ///
    /// They cannot.
    pub fn check(&self, policies: &Arc<[Policy]>) -> Result<(), TooLarge> {
        let guests = self.guests.values().map(WatchedGuest::guest);
        Forms::new(Arc::clone(policies)).check(guests)
    }

    /// Has a set of policies rule: answers the epochs that begin. A guest whose policies cannot be held together, or beside those of the
    /// others, is denied everything.
    pub fn rule(&mut self, set: u64, policies: impl Into<Arc<[Policy]>>) -> Vec<GuestEpoch> {
        // What ruled makes room first: nothing is decided in between.
        self.guests.values_mut().for_each(WatchedGuest::forget);
        (self.set, self.forms) = (set, Forms::new(policies));
        for guest in self.guests.values_mut() {
            guest.is_ruled_by(&mut self.forms);
        }
        self.epochs()
    }

    /// A guest runs; a former boot of its VM does not any more. Answers the epochs that begin.
    pub fn runs(&mut self, boot: GuestBoot, mut guest: WatchedGuest) -> Vec<GuestEpoch> {
        let former = self.guests.extract_if(.., |other, _| other.vm == boot.vm);
        let mut left = Vec::new();
        for (other, former) in former {
            left.extend(former.segment().map(str::to_owned));
            if other == boot {
                // It is told of again.
                guest.goes_on_from(former);
            }
        }
        if let Some((number, trust)) = self.taken_for.get(&boot.vm)
            && *number == boot.boot
        {
            guest.is_taken_for(*trust);
        }
        guest.is_ruled_by(&mut self.forms);
        let segment = guest.segment().map(str::to_owned);
        self.guests.insert(boot, guest);
        let mut begun = self.segment_changed(segment.as_deref());
        for left in left
            .into_iter()
            .filter(|left| Some(left) != segment.as_ref())
        {
            begun.extend(self.segment_changed(Some(&left)));
        }
        begun.extend(self.room_is_made());
        begun
    }

    /// A guest has ended. Answers the epochs that begin.
    pub fn ended(&mut self, boot: GuestBoot) -> Vec<GuestEpoch> {
        let mut begun = self.is_gone(boot);
        begun.extend(self.room_is_made());
        begun
    }

    /// Of all guests only these run. Answers the epochs that begin.
    pub fn only(&mut self, run: impl Fn(&GuestBoot) -> bool) -> Vec<GuestEpoch> {
        let gone: Vec<_> = self
            .guests
            .keys()
            .filter(|boot| !run(boot))
            .copied()
            .collect();
        let mut begun: Vec<_> = gone
            .into_iter()
            .flat_map(|boot| self.is_gone(boot))
            .collect();
        begun.extend(self.room_is_made());
        self.is_told = true;
        begun
    }

    fn is_gone(&mut self, boot: GuestBoot) -> Vec<GuestEpoch> {
        let gone = self.guests.remove(&boot);
        gone.map_or_else(Vec::new, |guest| self.segment_changed(guest.segment()))
    }

    /// What a guest is taken for now. Answers the epochs that begin, if that is something else.
    pub fn trusts(&mut self, boot: GuestBoot, trust: Trust) -> Vec<GuestEpoch> {
        self.remember(boot, trust);
        let Some(guest) = self.guests.get_mut(&boot) else {
            return Vec::new();
        };
        if !guest.is_taken_for(trust) {
            return Vec::new();
        }
        guest.forget();
        guest.is_ruled_by(&mut self.forms);
        self.last_state += 1;
        guest.changed(self.last_state);
        let mut begun: Vec<_> = self.epoch(boot).into_iter().collect();
        begun.extend(self.room_is_made());
        begun
    }

    /// What a boot of a VM was last found to be.
    #[must_use]
    pub fn taken_for(&self, boot: GuestBoot) -> Trust {
        match self.taken_for.get(&boot.vm) {
            Some((number, trust)) if *number == boot.boot => *trust,
            _ => Trust::None,
        }
    }

    /// Guests whose policies could not be held may be ruled by them now. Answers the epochs that begin.
    fn room_is_made(&mut self) -> Vec<GuestEpoch> {
        if !self.forms.try_again() {
            return Vec::new();
        }
        self.last_state += 1;
        let denied = self.guests.iter_mut();
        let denied = denied.filter(|(_, guest)| guest.compiled().is_err());
        let ruled: Vec<_> = denied
            .filter_map(|(boot, guest)| {
                let is_ruled = guest.is_ruled_by(&mut self.forms);
                is_ruled.then(|| guest.changed(self.last_state));
                is_ruled.then_some(*boot)
            })
            .collect();
        let begun = ruled.into_iter().filter_map(|boot| self.epoch(boot));
        begun.collect()
    }

    /// Cuts a VM that runs from every network, in this boot and in those that come, or takes that back. The boot [`ANY_BOOT`] is whichever
    /// runs. An epoch of it begins: once devices have confirmed that one, it [is so](Self::is_settled).
    pub fn isolate(&mut self, boot: GuestBoot, isolated: bool) -> Isolated {
        let runs = self.runs_now(boot);
        let done = match isolated {
            // Known attack: an order comes before it is known who runs, and is done with since nobody does.
            true if runs || !self.is_told => self.isolation.cut(boot.vm),
            true => Isolated::NoGuest,
            false => self.isolation.release(boot.vm, runs || !self.is_told),
        };
        if done == Isolated::Done {
            self.last_state += 1;
            let of_vm = self.guests.iter_mut().filter(|(of, _)| of.vm == boot.vm);
            of_vm.for_each(|(_, guest)| guest.changed(self.last_state));
        }
        done
    }

    /// Whether devices judge by all that was decided of a VM, its isolation included: they are there, and none of it runs with a network, or
    /// they have confirmed its present epoch.
    #[must_use]
    pub fn is_settled(&self, vm: [u8; 16]) -> bool {
        let mut of_vm = self.guests.iter().filter(|(of, _)| of.vm == vm);
        self.is_told
            && self.devices_are_there
            && of_vm.all(|(_, guest)| {
                guest.segment().is_none() || guest.has_confirmed(self.epoch_of(guest))
            })
    }

    /// Cuts VMs that were cut before this was made, whether they run or not.
    pub fn isolated_before(&mut self, vms: &BTreeSet<[u8; 16]>) {
        for vm in vms {
            self.isolation.cut(*vm);
        }
    }

    /// Devices say that they cut a VM off, as somebody told them who decided before: whether they are to go on.
    pub fn is_isolated(&mut self, vm: [u8; 16]) -> bool {
        self.isolation.heard(vm)
    }

    /// Whether it is known that this boot of a guest runs.
    #[must_use]
    pub fn runs_here(&self, boot: &GuestBoot) -> bool {
        self.guests.contains_key(boot)
    }

    fn runs_now(&self, boot: GuestBoot) -> bool {
        match boot.boot {
            ANY_BOOT => self.guests.keys().any(|running| running.vm == boot.vm),
            _ => self.guests.contains_key(&boot),
        }
    }

    /// The VMs that are cut from every network, whether they run or not.
    #[must_use]
    pub const fn isolated(&self) -> &BTreeSet<[u8; 16]> {
        self.isolation.all()
    }

    /// Of each guest, which policies of the set select it, by their places.
    pub fn ruled(&self) -> impl Iterator<Item = (GuestBoot, Vec<usize>)> {
        self.guests.iter().map(|(boot, guest)| {
            let choice = self.forms.choice(guest.guest());
            (*boot, choice)
        })
    }

    /// Decides a question.
    #[must_use]
    pub fn decide(&self, question: &Question, now: Instant) -> Verdict {
        let Some(guest) = self.guests.get(&question.guest) else {
            let why = "no such guest is known to run";
            return refusal(question, Epoch::default(), why, Width::default());
        };
        let epoch = self.epoch_of(guest);
        match guest.compiled() {
            Ok(compiled) => {
                let peers = self.peers(guest);
                verdict::of(question, epoch, compiled, &peers, now)
            }
            Err(too_large) => refusal(question, epoch, &too_large.to_string(), Width::default()),
        }
    }

    /// The flows of a guest that may begin while nobody can decide, in its present epoch; none where it is in another.
    #[must_use]
    pub fn fallback(&self, of: GuestEpoch) -> Option<Fallback> {
        let guest = self.guests.get(&of.guest)?;
        if self.epoch_of(guest) != of.epoch {
            return None;
        }
        let peers = self.peers(guest);
        let policies = self.forms.policies().iter();
        let select = policies.filter(|policy| policy.select.includes(guest.guest()));
        let allowed = guest
            .compiled()
            .map(|compiled| fallback::of(select, compiled, &peers))
            .unwrap_or_default();
        Some(Fallback { of, allowed })
    }

    /// Takes a DNS answer for a guest, which it waits for.
    ///
    /// # Errors
    ///
    /// It is not believed: no address has a name by it.
    pub fn learn(&mut self, resolved: &Resolved, now: Instant) -> Result<Noted, NotBelieved> {
        let guests = self.of_guests(resolved);
        let of_all = self.guests.values().map(|guest| guest.names().len()).sum();
        let guest = self.guests.get_mut(&resolved.guest);
        let (names, compiled) = guest
            .and_then(WatchedGuest::learning)
            .ok_or(NotBelieved::NoGuest)?;
        Ok(Noted {
            number: resolved.number,
            guest: resolved.guest,
            anew: names.learn(resolved, &guests, of_all, compiled, now)?,
        })
    }

    /// Which of an answer's addresses are guests', or may have been when it came.
    fn of_guests(&self, resolved: &Resolved) -> Vec<IpAddr> {
        let asker = self.guests.get(&resolved.guest);
        let Some(network) = asker.and_then(WatchedGuest::network) else {
            return resolved.addresses.clone();
        };
        let addresses = resolved.addresses.iter().copied();
        let theirs = addresses.filter(|address| {
            resolved.guests.contains(address)
                || guest_at(&self.guests, &network.segment, *address).is_some()
        });
        theirs.collect()
    }

    /// Whose DNS answers each guest that has a network is believed; of more than there may be the first.
    #[must_use]
    pub fn resolvers(&self) -> Vec<Resolvers> {
        let networked = self.guests.iter();
        let networked = networked.filter(|(_, guest)| guest.segment().is_some());
        let resolvers = networked.map(|(boot, guest)| {
            let servers = guest.compiled().map(Compiled::resolvers);
            let servers = servers.unwrap_or_default().iter().take(MAX_RESOLVERS);
            Resolvers {
                guest: *boot,
                servers: servers.copied().collect(),
            }
        });
        resolvers.collect()
    }

    /// The epochs of all guests that have a network.
    #[must_use]
    pub fn epochs(&self) -> Vec<GuestEpoch> {
        let networked = self
            .guests
            .iter()
            .filter(|(_, guest)| guest.segment().is_some());
        let epochs = networked.map(|(boot, guest)| GuestEpoch {
            guest: *boot,
            epoch: self.epoch_of(guest),
        });
        epochs.collect()
    }

    /// Devices judge no packet of the guest by what was decided before. What they say of an epoch that was never begun counts for nothing.
    pub fn confirmed(&mut self, confirmed: GuestEpoch) {
        let set = self.set;
        if let Some(guest) = self.guests.get_mut(&confirmed.guest) {
            guest.confirmed(confirmed.epoch, set);
        }
    }

    /// Devices are there anew, and have confirmed nothing.
    ///
    /// Known attack: an epoch that the former ones were told with what came before it is confirmed by these, who were not.
    pub fn devices_come(&mut self) {
        self.devices_are_there = true;
        self.coming += 1;
        self.last_state += 1;
        for guest in self.guests.values_mut() {
            guest.unconfirmed();
            guest.changed(self.last_state);
        }
    }

    /// How often devices have come: others were told nothing of what these are.
    #[must_use]
    pub const fn coming(&self) -> u64 {
        self.coming
    }

    /// Nobody confirms anything until devices are there again.
    pub fn devices_are_gone(&mut self) {
        self.devices_are_there = false;
        self.guests.values_mut().for_each(WatchedGuest::unconfirmed);
    }

    /// The newest set by which every packet of every guest is judged; none before it is known who runs.
    #[must_use]
    pub fn in_force(&self) -> u64 {
        if !self.is_told {
            return 0;
        }
        let networked = self
            .guests
            .values()
            .filter(|guest| guest.segment().is_some());
        networked
            .map(WatchedGuest::in_force)
            .min()
            .unwrap_or(self.set)
    }

    fn peers<'g>(&'g self, guest: &'g WatchedGuest) -> Peers<'g> {
        Peers {
            guests: &self.guests,
            network: guest.network(),
            names: guest.names(),
        }
    }

    /// What the newest boot of a VM is taken for. Where there is no room, it takes that of a VM that does not run.
    fn remember(&mut self, boot: GuestBoot, trust: Trust) {
        if self.taken_for.len() >= MAX_REMEMBERED && !self.taken_for.contains_key(&boot.vm) {
            let running: BTreeSet<_> = self.guests.keys().map(|running| running.vm).collect();
            let mut others = self.taken_for.keys();
            let Some(other) = others.find(|vm| !running.contains(*vm)).copied() else {
                return;
            };
            self.taken_for.remove(&other);
        }
        let newest = self.taken_for.entry(boot.vm).or_insert((boot.boot, trust));
        if newest.0 <= boot.boot {
            *newest = (boot.boot, trust);
        }
    }

    fn epoch_of(&self, guest: &WatchedGuest) -> Epoch {
        Epoch {
            policy: self.set,
            state: guest.state(),
        }
    }

    fn epoch(&self, boot: GuestBoot) -> Option<GuestEpoch> {
        let guest = self.guests.get(&boot)?;
        guest.segment()?;
        Some(GuestEpoch {
            guest: boot,
            epoch: self.epoch_of(guest),
        })
    }

    /// Somebody came to a segment or left it.
    fn segment_changed(&mut self, segment: Option<&str>) -> Vec<GuestEpoch> {
        let Some(segment) = segment else {
            return Vec::new();
        };
        let set = self.set;
        self.last_state += 1;
        let state = self.last_state;
        let there = self
            .guests
            .iter_mut()
            .filter(|(_, guest)| guest.segment() == Some(segment));
        let begun = there.map(|(boot, guest)| {
            guest.changed(state);
            GuestEpoch {
                guest: *boot,
                epoch: Epoch { policy: set, state },
            }
        });
        begun.collect()
    }
}

/// The guest of a segment that has an address.
fn guest_at<'g>(
    guests: &'g BTreeMap<GuestBoot, WatchedGuest>,
    segment: &str,
    address: IpAddr,
) -> Option<&'g WatchedGuest> {
    let mut guests = guests
        .values()
        .filter(|guest| guest.segment() == Some(segment));
    guests.find(|guest| guest.network().is_some_and(|network| network.has(address)))
}

#[cfg(test)]
pub(crate) mod tests;
