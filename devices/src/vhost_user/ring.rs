//! One split virtqueue (virtio 1.2 section 2.7) and its descriptors for notification.

mod event_index;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use virtio_queue::{Error as QueueError, Queue, QueueT};
use vm_memory::{GuestAddress, VolatileMemory};

use super::chain::Chain;
use super::view::View;
use super::written::Memory;

/// Largest ring that is served, in descriptors.
const MAX_SIZE: u16 = 1024;
/// Of the available ring's flags (virtio 1.2 section 2.7.6).
const NO_INTERRUPT: u16 = 1;
/// Of the used ring's flags (virtio 1.2 section 2.7.8).
const NO_NOTIFY: u16 = 1;
/// Most chains that the guest has not been shown yet that they are given back.
const MOST_UNSEEN: u16 = 32;

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A ring.
///
/// All of its state that outlasts this process is in the guest's RAM: that is what makes a restart invisible to the ring. Whoever
/// serves it next begins with what the guest was not shown, signals at once, and says anew when it wants kicks. Of a network's
/// frames a few are sent twice then.
#[derive(Debug)]
pub struct Ring {
    queue: Queue,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
    /// It ran, and was switched off.
    switched_off: bool,
    /// The guest broke the ring's rules; it rests until it is set up anew.
    broken: bool,
    unsignalled: bool,
    handed_back: Option<u16>,
    /// How far the guest has offered chains, as was seen last.
    available: u16,
    /// How far the guest has been shown that chains are given back.
    published: u16,
    /// Whether the guest was told to kick, once it was told anything.
    wants_kicks: Option<bool>,
    /// Whether both sides say by an entry's number what they want to hear of, and not by flags.
    has_event_index: bool,
    /// The entry of which a kick is to tell, where one was said.
    awaited: Option<u16>,
    /// How far the guest has been told, or wanted not to be; none where that is not known.
    told: Option<u16>,
}

/// A ring cannot be set up so.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Not a ring size.
    #[error("{0} is not a ring size: a power of two up to {MAX_SIZE}")]
    BadSize(u32),
    /// The base is a free-running 16-bit index.
    #[error("{0} is not a ring index")]
    BadBase(u32),
    /// Misplaced or outside of RAM.
    #[error("the ring is misplaced: {0}")]
    Misplaced(#[from] QueueError),
    /// An address is not in the RAM that was described.
    #[error("address {0:#x} is not in the RAM")]
    NotRam(u64),
    /// The kick descriptor cannot be polled.
    #[error("the kick descriptor cannot be polled: {0}")]
    Kick(#[from] rustix::io::Errno),
    /// A socket or a file, which would be kept open here.
    #[error("a kick or call descriptor is no eventfd")]
    NotAnEvent,
}

/// Known attack: a supervisor has its own end of a connection, or its locked file, kept open here, so that nobody sees its end.
fn check_event(descriptor: &File) -> Result<(), RingError> {
    // An eventfd has an inode of no type (eventfd(2)).
    match FileType::from_raw_mode(fstat(descriptor)?.st_mode) {
        FileType::Unknown => Ok(()),
        _ => Err(RingError::NotAnEvent),
    }
}

impl Ring {
    /// A ring that is not set up yet.
    pub fn new() -> Result<Self, RingError> {
        Ok(Self {
            queue: Queue::new(MAX_SIZE)?,
            kick: None,
            call: None,
            enabled: false,
            switched_off: false,
            broken: false,
            unsignalled: false,
            handed_back: None,
            available: 0,
            published: 0,
            wants_kicks: None,
            has_event_index: false,
            awaited: None,
            told: None,
        })
    }

    /// Sets its size in descriptors.
    pub fn resize(&mut self, size: u32) -> Result<(), RingError> {
        let size = u16::try_from(size).map_err(|_| RingError::BadSize(size))?;
        self.available = self.queue.next_avail();
        self.queue
            .try_set_size(size)
            .map_err(|_| RingError::BadSize(size.into()))
    }

    /// Places it; the used index goes on where the guest's RAM says.
    pub fn place(
        &mut self,
        ram: &Memory,
        descriptors: GuestAddress,
        available: GuestAddress,
        used: GuestAddress,
    ) -> Result<(), RingError> {
        self.queue.try_set_desc_table_address(descriptors)?;
        self.queue.try_set_avail_ring_address(available)?;
        self.queue.try_set_used_ring_address(used)?;
        let index = self.queue.used_idx(ram, Ordering::Acquire)?;
        self.queue.set_next_used(index.0);
        self.published = index.0;
        self.available = self.queue.next_avail();
        self.forget_events();
        self.broken = false;
        Ok(())
    }

    /// Sets the index of the next available entry. Returns whether the ring goes on where this
    /// process stopped it, or was never run by it; if not, the guest's driver started anew.
    pub fn rebase(&mut self, base: u32) -> Result<bool, RingError> {
        let base = u16::try_from(base).map_err(|_| RingError::BadBase(base))?;
        self.queue.set_next_avail(base);
        self.available = base;
        Ok(self
            .handed_back
            .is_none_or(|handed_back| handed_back == base))
    }

    /// Starts it: each kick is an event of `epoll` under `token`.
    ///
    /// Kicks are watched edge-triggered and never read: an eventfd wakes its waiters at each write, whatever its counter
    /// (eventfd(2), epoll(7)), and one that was kicked before is reported when it is added.
    ///
    /// Known attack: whether a read waits is the open file's, which QEMU has, too: it has an emptied counter read for ever.
    pub fn start(
        &mut self,
        kick: Option<File>,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<(), RingError> {
        self.unwatch(epoll);
        if let Some(kick) = &kick {
            check_event(kick)?;
            epoll::add(
                epoll,
                kick,
                epoll::EventData::new_u64(token),
                epoll::EventFlags::IN | epoll::EventFlags::ET,
            )?;
        }
        self.kick = kick;
        self.switched_off = false;
        self.queue.set_ready(true);
        Ok(())
    }

    /// Stops it and returns the index of the next available entry. Whoever serves it next may want kicks.
    pub fn stop(&mut self, view: &View<'_>, epoll: &OwnedFd) -> u16 {
        self.publish(view);
        if self.has_event_index && self.awaited.is_some() {
            self.await_entry(view);
        } else if self.wants_kicks == Some(false) {
            self.tell(view, true);
        }
        self.forget_events();
        self.unwatch(epoll);
        self.call = None;
        self.queue.set_ready(false);
        let base = self.queue.next_avail();
        self.handed_back = Some(base);
        base
    }

    /// Sets whom to signal.
    pub fn signal_to(&mut self, call: Option<File>) -> Result<(), RingError> {
        if let Some(call) = &call {
            check_event(call)?;
            fcntl_setfl(call, fcntl_getfl(call)? | OFlags::NONBLOCK)?;
        }
        self.call = call;
        // What was used while nobody could be told is told now.
        self.unsignalled = true;
        self.told = None;
        Ok(())
    }

    /// Whether the guest's driver took event indices (`VIRTIO_RING_F_EVENT_IDX`).
    pub fn use_event_index(&mut self, used: bool) {
        if self.has_event_index != used {
            self.has_event_index = used;
            self.forget_events();
        }
    }

    const fn forget_events(&mut self) {
        (self.wants_kicks, self.awaited, self.told) = (None, None, None);
    }

    /// Lets it run or rest.
    pub fn enable(&mut self, enabled: bool) {
        self.switched_off = !enabled && (self.enabled || self.switched_off);
        self.enabled = enabled;
    }

    /// Gives back, unread, what the guest offers by a ring that was switched off (vhost-user, "Ring states"): so many chains at most.
    /// Returns whether there may be more.
    ///
    /// A guest that uses fewer queues than before switches the others off before it stops sending by them, and waits for what it sent.
    pub fn discard(&mut self, view: &View<'_>, most: usize) -> bool {
        for _ in 0..most {
            if !self.switched_off {
                return false;
            }
            let Some(chain) = self.next(view) else {
                return false;
            };
            let head = chain.head_index();
            self.add_used(view, &[(head, 0)]);
        }
        true
    }

    /// The next available chain.
    pub fn pop<'v, 'm>(&mut self, view: &'v View<'m>) -> Option<Chain<'v, 'm>> {
        if self.serves() { self.next(view) } else { None }
    }

    fn next<'v, 'm>(&mut self, view: &'v View<'m>) -> Option<Chain<'v, 'm>> {
        if !self.is_live() || !(self.has_seen_more() || self.look(view)) {
            return None;
        }
        let (next, size) = (self.queue.next_avail(), self.queue.size());
        // An entry has 2 bytes, behind flags and index (virtio 1.2 section 2.7.6).
        let entry = 4 + 2 * u64::from(next.checked_rem(size)?);
        let entry = self.queue.avail_ring().checked_add(entry);
        let head = entry.and_then(|entry| view.load(GuestAddress(entry), Ordering::Acquire));
        let Some(head) = head else {
            self.give_up("is not in its RAM");
            return None;
        };
        self.queue.set_next_avail(next.wrapping_add(1));
        let table = GuestAddress(self.queue.desc_table());
        Some(Chain::new(view, table, size, head))
    }

    /// Puts the chain popped last back.
    pub fn unpop(&mut self) {
        let next = self.queue.next_avail();
        self.queue.set_next_avail(next.wrapping_sub(1));
    }

    /// Gives a chain back to the guest, `written` bytes written into it, and shows it.
    pub fn give_back(&mut self, view: &View<'_>, head: u16, written: u32) {
        self.add_used(view, &[(head, written)]);
        self.publish(view);
    }

    /// Gives chains back as one: the guest is shown all of them or none, as it must where a packet lies in several
    /// (virtio 1.2 section 5.1.6.4.1). Of each, its head and the bytes written into it. It is shown them after some more, or by
    /// [`Self::publish`].
    pub fn add_used(&mut self, view: &View<'_>, chains: &[(u16, u32)]) {
        for (head, written) in chains {
            let (next, size) = (self.queue.next_used(), self.queue.size());
            let slot = next.checked_rem(size).filter(|_| *head < size);
            // An entry has 8 bytes, behind flags and index (virtio 1.2 section 2.7.8).
            let entry = slot
                .and_then(|slot| self.queue.used_ring().checked_add(4 + 8 * u64::from(slot)))
                .and_then(|entry| view.slice(GuestAddress(entry), 8));
            let bytes = (u64::from(*written) << 32 | u64::from(*head)).to_le();
            let Some(Ok(())) = entry.map(|entry| entry.get_ref(0).map(|at| at.store(bytes))) else {
                return self.give_up("has a chain that is not of its table, or is not in its RAM");
            };
            self.queue.set_next_used(next.wrapping_add(1));
        }
        if self.queue.next_used().wrapping_sub(self.published) >= MOST_UNSEEN {
            self.publish(view);
        }
    }

    /// Shows the guest what was given back.
    pub fn publish(&mut self, view: &View<'_>) {
        let used = self.queue.next_used();
        if used == self.published || self.broken {
            return;
        }
        let index = self.queue.used_ring().checked_add(2);
        let shown = index.and_then(|at| view.store(GuestAddress(at), used, Ordering::Release));
        if shown.is_none() {
            return self.give_up("is not in its RAM");
        }
        self.published = used;
        self.unsignalled = true;
    }

    /// Tells the guest whether it is to kick when it offers more (virtio 1.2 section 2.7.10). Where it is: returns whether it has offered
    /// more since this looked last, of which no kick may tell.
    pub fn want_kicks(&mut self, view: &View<'_>, wanted: bool) -> bool {
        // One that was switched off is looked at for what is to be discarded.
        let is_looked_at = self.enabled || self.switched_off;
        if !(is_looked_at && self.is_live()) {
            return false;
        }
        if self.has_event_index {
            // Where none is wanted nothing is said: the guest has passed the entry that was.
            if wanted && self.awaited != Some(self.available) {
                self.await_entry(view);
            }
        } else if self.wants_kicks != Some(wanted) {
            self.tell(view, wanted);
        }
        let seen = self.available;
        if wanted && !self.broken {
            self.look(view);
        }
        self.available != seen
    }

    fn tell(&mut self, view: &View<'_>, wanted: bool) {
        let flags = if wanted { 0 } else { NO_NOTIFY };
        let said = self.used_ring(0);
        let said = said.and_then(|at| view.store(at, flags, Ordering::Relaxed));
        if said.is_none() {
            return self.give_up("is not in its RAM");
        }
        self.wants_kicks = Some(wanted);
        // Either the guest sees this, or what it has offered is seen here when this looks once more.
        fence(Ordering::SeqCst);
    }

    /// The guest is to kick when it offers the first chain that was not seen (`avail_event`).
    fn await_entry(&mut self, view: &View<'_>) {
        let entry = self.available;
        // Behind flags, index and all entries (virtio 1.2 section 2.7.8).
        let behind = 4 + 8 * u64::from(self.queue.size());
        let said = self.used_ring(behind);
        let said = said.and_then(|at| view.store(at, entry, Ordering::Relaxed));
        if said.is_none() {
            return self.give_up("is not in its RAM");
        }
        self.awaited = Some(entry);
        // As above.
        fence(Ordering::SeqCst);
    }

    /// So far behind the used ring's beginning; none where nobody has said yet where that is.
    fn used_ring(&self, behind: u64) -> Option<GuestAddress> {
        match self.queue.used_ring() {
            0 => None,
            ring => ring.checked_add(behind).map(GuestAddress),
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.enabled && self.is_live()
    }

    fn is_live(&self) -> bool {
        !self.broken && self.queue.ready()
    }

    fn has_seen_more(&self) -> bool {
        self.queue.next_avail() != self.available
    }

    /// Looks how far the guest has offered chains; returns whether there are any.
    fn look(&mut self, view: &View<'_>) -> bool {
        let index = match self.queue.avail_ring() {
            0 => None,
            ring => ring.checked_add(2),
        };
        let index = index.and_then(|at| view.load(GuestAddress(at), Ordering::Acquire));
        let Some(index) = index else {
            self.give_up("is not in its RAM");
            return false;
        };
        // Known attack: more than there are descriptors, so that the same ones are served over and over.
        if index.wrapping_sub(self.queue.next_avail()) > self.queue.size() {
            self.give_up("offers more than it has descriptors");
            return false;
        }
        self.available = index;
        self.has_seen_more()
    }

    fn give_up(&mut self, why: &'static str) {
        tracing::warn!("a guest's ring {why}; the ring rests");
        self.broken = true;
    }

    /// Signals what was given back since the last signal, unless the driver looks by itself.
    ///
    /// Known attack: QEMU, which has the same open file, clears its `O_NONBLOCK` and fills its counter, so that a write waits
    /// for ever. It is asked first whether it would; QEMU is left to win the race between the two, which costs it no more
    /// than the device that it has (see `control::dismissals`).
    pub fn signal(&mut self, view: &View<'_>) {
        self.publish(view);
        if let Some(call) = self.call.as_ref().filter(|_| self.unsignalled) {
            if self.is_to_signal(view) {
                let mut asked = PollFd::new(call, PollFlags::OUT);
                if poll(std::slice::from_mut(&mut asked), Some(&AT_ONCE)).is_err() {
                    return;
                }
                // A full counter means that a signal is pending already.
                if asked.revents().contains(PollFlags::OUT) {
                    let _ = rustix::io::write(call, &1_u64.to_ne_bytes());
                }
            }
            self.unsignalled = false;
            self.told = Some(self.published);
        }
    }

    /// Whether the driver wants a signal. One that looks by itself looks once more at what was given back before it rests
    /// (virtio 1.2 section 2.7.7). What is not in its RAM asks for one, too.
    fn is_to_signal(&self, view: &View<'_>) -> bool {
        // What was given back is seen before it is looked at what the driver wants.
        fence(Ordering::SeqCst);
        let ring = self.queue.avail_ring();
        if !self.has_event_index {
            let flags = view.load(GuestAddress(ring), Ordering::Acquire);
            return flags.is_none_or(|flags| flags & NO_INTERRUPT == 0);
        }
        // `used_event`, behind flags, index and all entries (virtio 1.2 section 2.7.6).
        let at = ring.checked_add(4 + 2 * u64::from(self.queue.size()));
        let event = at.and_then(|at| view.load(GuestAddress(at), Ordering::Acquire));
        match (event, self.told) {
            (Some(event), Some(told)) => event_index::passes(event, told, self.published),
            _ => true,
        }
    }

    /// QEMU holds the same open file, so that closing ours alone would leave it watched.
    fn unwatch(&mut self, epoll: &OwnedFd) {
        if let Some(kick) = self.kick.take() {
            let _ = epoll::delete(epoll, &kick);
        }
    }
}

#[cfg(test)]
mod tests;
