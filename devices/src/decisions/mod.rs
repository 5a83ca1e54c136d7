//! Who decides on flows: the link by which guests' questions go out and what was decided comes in (see
//! [`bartizan_local::flow`]).
//!
//! One link is in use at a time, the newest: who connected before is not heard any more, and what it decided is asked about again, since who
//! decides now may be another that counts epochs from the beginning. While there is none, each guest's
//! flows follow what was decided for that case, and new ones are denied.
//!
//! ```text
//!   guests' threads ── ask ──► outbox ── writer ──► link ──► hypervisor
//!                   ◄── inbox ── verdicts, epochs, isolation ── reader ◄──┘
//! ```
//!
//! No guest's thread waits for the link: a writer of its own does. Questions are bounded by each guest's own limit.

mod link;
mod told;

use std::collections::{HashMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bartizan_local::flow::{Epoch, FromDevices, Guest, GuestEpoch, Question, Resolved, ToDevices};

use crate::net::{Station, ToldBy};
pub use link::serve;
use told::{Holds, Told};

/// What guests' threads and the link share.
#[derive(Debug, Default)]
pub struct Decisions {
    state: Mutex<State>,
    /// Something is to be written, or there is another link.
    changed: Condvar,
}

/// Most questions and DNS answers of all guests that wait to be written.
const MOST_WAITING: usize = 1 << 16;

#[derive(Debug, Default)]
struct State {
    link: Option<Arc<UnixStream>>,
    /// Which link it is, in the order in which they were accepted.
    number: u64,
    outbox: VecDeque<FromDevices>,
    stations: HashMap<Guest, Arc<Station>>,
    told: Told,
}

impl Decisions {
    /// Nobody decides yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A guest's device is there: it is told what was decided of the guest before.
    pub fn join(&self, station: &Arc<Station>) {
        let mut state = self.lock();
        let guest = station.interface.guest;
        let Holds {
            epoch,
            fallback,
            resolvers,
        } = state.told.of(guest);
        let isolated = state.told.is_isolated(guest);
        let (available, link) = (state.link.is_some(), state.number);
        station.inbox.change(|mail| {
            // Without one, there is nothing that could be in force.
            mail.epoch = (epoch != Epoch::default()).then_some(ToldBy { link, what: epoch });
            mail.fallback = fallback;
            mail.resolvers = resolvers;
            mail.isolated = Some(isolated);
            mail.available = Some(available);
        });
        state.stations.insert(guest, Arc::clone(station));
    }

    /// It is gone.
    pub fn leave(&self, station: &Arc<Station>) {
        let mut state = self.lock();
        let guest = station.interface.guest;
        // A later one of the guest's may have come.
        if state
            .stations
            .get(&guest)
            .is_some_and(|there| Arc::ptr_eq(there, station))
        {
            state.stations.remove(&guest);
            // Of what it was told last nothing is judged any more.
            let epoch = state.told.of(guest).epoch;
            if epoch != Epoch::default() {
                state.say(FromDevices::InForce(GuestEpoch { guest, epoch }));
                self.changed.notify_all();
            }
        }
    }

    /// A guest's device, if it is there.
    #[must_use]
    pub fn station(&self, guest: Guest) -> Option<Arc<Station>> {
        self.lock().stations.get(&guest).cloned()
    }

    /// Asks, if there is somebody to be asked. Who comes later is asked again by the guests.
    pub fn ask(&self, questions: Vec<Question>) {
        self.say_all(questions.into_iter().map(FromDevices::Question));
    }

    /// Tells of DNS answers. What nobody hears of nobody notes.
    pub fn tell(&self, found: Vec<Resolved>) {
        self.say_all(found.into_iter().map(FromDevices::Resolved));
    }

    fn say_all(&self, messages: impl ExactSizeIterator<Item = FromDevices>) {
        if messages.len() == 0 {
            return;
        }
        let mut state = self.lock();
        for message in messages {
            state.say(message);
        }
        self.changed.notify_all();
    }

    /// No packet of the guest is judged by what was decided before this epoch.
    ///
    /// Known attack: what one told who decided before is confirmed to the next, who counts anew, and would take it for its own.
    pub fn in_force(&self, link: u64, epoch: GuestEpoch) {
        let mut state = self.lock();
        if state.number == link {
            state.say(FromDevices::InForce(epoch));
            self.changed.notify_all();
        }
    }

    /// A guest's boot begins.
    pub fn admit(&self, guest: Guest) {
        self.lock().told.admit(guest);
    }

    /// Of the guests that were admitted only these are: what was decided of the others is forgotten, their boots are over.
    pub fn retain(&self, guests: &[Guest]) {
        self.lock().told.retain(guests);
    }

    /// What is to be written.
    #[cfg(test)]
    pub(crate) fn take_said(&self) -> Vec<FromDevices> {
        self.lock().outbox.drain(..).collect()
    }

    /// Takes what was decided, if it came by the link in use.
    pub(crate) fn hear(&self, number: u64, said: ToDevices) {
        let mut state = self.lock();
        if state.number != number {
            return;
        }
        match said {
            ToDevices::Verdict(verdict) => {
                if let Some(station) = state.stations.get(&verdict.guest) {
                    station.inbox.answer(verdict);
                }
            }
            ToDevices::Epoch(GuestEpoch { guest, epoch }) => {
                let epoch = state.told.enter(guest, epoch);
                match state.stations.get(&guest) {
                    Some(station) => {
                        let told = ToldBy {
                            link: number,
                            what: epoch,
                        };
                        station.inbox.change(|mail| mail.epoch = Some(told));
                    }
                    // Nothing of it is judged at all.
                    None => state.say(FromDevices::InForce(GuestEpoch { guest, epoch })),
                }
                self.changed.notify_all();
            }
            ToDevices::Fallback(fallback) => {
                let fallback = Arc::new(fallback);
                state.told.fall_back(&fallback);
                if let Some(station) = state.stations.get(&fallback.of.guest) {
                    station.inbox.change(|mail| mail.fallback = Some(fallback));
                }
            }
            ToDevices::Resolvers(resolvers) => {
                let resolvers = Arc::new(resolvers);
                state.told.believe(&resolvers);
                if let Some(station) = state.stations.get(&resolvers.guest) {
                    station
                        .inbox
                        .change(|mail| mail.resolvers = Some(resolvers));
                }
            }
            ToDevices::Noted(noted) => {
                if let Some(station) = state.stations.get(&noted.guest) {
                    station.inbox.note(noted);
                }
            }
            ToDevices::Isolate { guest, isolated } => {
                state.told.isolate(guest.vm, isolated);
                let of_vm = state.stations.iter().filter(|(of, _)| of.vm == guest.vm);
                for (_, station) in of_vm {
                    station.inbox.change(|mail| mail.isolated = Some(isolated));
                }
            }
        }
    }

    /// Another link, in the place of the former one.
    pub(crate) fn replace(&self, link: &Arc<UnixStream>) -> u64 {
        let mut state = self.lock();
        if let Some(former) = state.link.replace(Arc::clone(link)) {
            // One that is not connected any more ends by itself.
            let _ = former.shutdown(std::net::Shutdown::Both);
        }
        state.number += 1;
        // Guests ask again what is not answered.
        state.outbox.clear();
        state.told.begin_anew();
        // First of all: before a guest of theirs may do anything.
        let isolated: Vec<_> = state.told.isolated().map(FromDevices::Isolated).collect();
        state.outbox.extend(isolated);
        for station in state.stations.values() {
            station.inbox.begin_anew();
        }
        self.changed.notify_all();
        state.number
    }

    /// That link has ended.
    fn lose(&self, number: u64) {
        let mut state = self.lock();
        if state.number != number {
            return;
        }
        if let Some(link) = state.link.take() {
            let _ = link.shutdown(std::net::Shutdown::Both);
            state.outbox.clear();
            state.tell_available(false);
            tracing::warn!("nobody decides on flows now");
        }
    }

    /// What is to be written next, and where. Waits for it.
    fn next(&self) -> (u64, Arc<UnixStream>, Vec<FromDevices>) {
        let mut state = self.lock();
        loop {
            let link = state.link.clone();
            if let Some(link) = link.filter(|_| !state.outbox.is_empty()) {
                return (state.number, link, state.outbox.drain(..).collect());
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn say(&mut self, message: FromDevices) {
        let is_guests = matches!(message, FromDevices::Question(_) | FromDevices::Resolved(_));
        // Who reads slowly is asked no more than so much; the flow is asked about again, or ends.
        let fits = !is_guests || self.outbox.len() < MOST_WAITING;
        if self.link.is_some() && fits {
            self.outbox.push_back(message);
        }
    }

    fn tell_available(&self, available: bool) {
        for station in self.stations.values() {
            station
                .inbox
                .change(|mail| mail.available = Some(available));
        }
    }
}
