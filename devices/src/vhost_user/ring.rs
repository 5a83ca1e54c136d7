//! One split virtqueue (virtio 1.2 section 2.7) and its descriptors for notification.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use virtio_queue::{DescriptorChain, Error as QueueError, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Largest ring that is served, in descriptors.
const MAX_SIZE: u16 = 1024;
/// Of the available ring's flags (virtio 1.2 section 2.7.6).
const NO_INTERRUPT: u16 = 1;

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A ring.
///
/// Event indices are not offered, so that its whole state is the two indices: that is what makes a
/// restart of this process invisible to the ring.
#[derive(Debug)]
pub struct Ring {
    queue: Queue,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
    /// The guest broke the ring's rules; it rests until it is set up anew.
    broken: bool,
    unsignalled: bool,
    handed_back: Option<u16>,
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
            broken: false,
            unsignalled: false,
            handed_back: None,
        })
    }

    /// Sets its size in descriptors.
    pub fn resize(&mut self, size: u32) -> Result<(), RingError> {
        let size = u16::try_from(size).map_err(|_| RingError::BadSize(size))?;
        self.queue
            .try_set_size(size)
            .map_err(|_| RingError::BadSize(size.into()))
    }

    /// Places it; the used index goes on where the guest's RAM says.
    pub fn place(
        &mut self,
        ram: &GuestMemoryMmap,
        descriptors: GuestAddress,
        available: GuestAddress,
        used: GuestAddress,
    ) -> Result<(), RingError> {
        self.queue.try_set_desc_table_address(descriptors)?;
        self.queue.try_set_avail_ring_address(available)?;
        self.queue.try_set_used_ring_address(used)?;
        let index = self.queue.used_idx(ram, Ordering::Acquire)?;
        self.queue.set_next_used(index.0);
        self.broken = false;
        Ok(())
    }

    /// Sets the index of the next available entry. Returns whether the ring goes on where this
    /// process stopped it, or was never run by it; if not, the guest's driver started anew.
    pub fn rebase(&mut self, base: u32) -> Result<bool, RingError> {
        let base = u16::try_from(base).map_err(|_| RingError::BadBase(base))?;
        self.queue.set_next_avail(base);
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
        self.queue.set_ready(true);
        Ok(())
    }

    /// Stops it and returns the index of the next available entry.
    pub fn stop(&mut self, epoll: &OwnedFd) -> u16 {
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
        Ok(())
    }

    /// Lets it run or rest.
    pub fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// The next available chain.
    pub fn pop<'m>(
        &mut self,
        ram: &'m GuestMemoryMmap,
    ) -> Option<DescriptorChain<&'m GuestMemoryMmap>> {
        if !self.enabled || self.broken || !self.queue.ready() {
            return None;
        }
        match self.queue.iter(ram) {
            Ok(mut chains) => chains.next(),
            Err(error) => {
                tracing::warn!(%error, "a guest broke its ring; the ring rests");
                self.broken = true;
                None
            }
        }
    }

    /// Puts the chain popped last back.
    pub fn unpop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Gives a chain back to the guest, `written` bytes written into it.
    pub fn give_back(&mut self, ram: &GuestMemoryMmap, head: u16, written: u32) {
        match self.queue.add_used(ram, head, written) {
            Ok(()) => self.unsignalled = true,
            Err(error) => {
                tracing::warn!(%error, "a guest broke its ring; the ring rests");
                self.broken = true;
            }
        }
    }

    /// Gives several chains back as one: the guest sees all of them or none, as it must where a packet lies in several
    /// (virtio 1.2 section 5.1.6.4.1). Of each, its head and the bytes written into it.
    pub fn give_back_together(&mut self, ram: &GuestMemoryMmap, chains: &[(u16, u32)]) {
        let Some(((last, written), others)) = chains.split_last() else {
            return;
        };
        let mut next = self.queue.next_used();
        for (head, written) in others {
            let slot = next.checked_rem(self.queue.size()).unwrap_or(0);
            // An entry has 8 bytes, behind flags and index (virtio 1.2 section 2.7.8).
            let entry = self.queue.used_ring().checked_add(4 + 8 * u64::from(slot));
            let bytes = [u32::from(*head).to_le_bytes(), written.to_le_bytes()].concat();
            if entry.is_none_or(|entry| ram.write_slice(&bytes, GuestAddress(entry)).is_err()) {
                tracing::warn!("a guest's ring is not in its RAM; the ring rests");
                self.broken = true;
                return;
            }
            next = next.wrapping_add(1);
        }
        // The index goes on with the last one, past all of them.
        self.queue.set_next_used(next);
        self.give_back(ram, *last, *written);
    }

    /// Signals what was given back since the last signal, unless the driver looks by itself.
    ///
    /// Known attack: QEMU, which has the same open file, clears its `O_NONBLOCK` and fills its counter, so that a write waits
    /// for ever. It is asked first whether it would; QEMU is left to win the race between the two, which costs it no more
    /// than the device that it has (see `control::dismissals`).
    pub fn signal(&mut self, ram: &GuestMemoryMmap) {
        if let Some(call) = self.call.as_ref().filter(|_| self.unsignalled) {
            if self.is_polled(ram) {
                self.unsignalled = false;
                return;
            }
            let mut asked = PollFd::new(call, PollFlags::OUT);
            if poll(std::slice::from_mut(&mut asked), Some(&AT_ONCE)).is_err() {
                return;
            }
            // A full counter means that a signal is pending already.
            if asked.revents().contains(PollFlags::OUT) {
                let _ = rustix::io::write(call, &1_u64.to_ne_bytes());
            }
            self.unsignalled = false;
        }
    }

    /// Whether the driver wants no signal: before it does, it looks once more at what was given back (virtio 1.2 section 2.7.7).
    fn is_polled(&self, ram: &GuestMemoryMmap) -> bool {
        // What was given back is seen before its flags are looked at.
        fence(Ordering::SeqCst);
        let flags = GuestAddress(self.queue.avail_ring());
        let flags = ram.load(flags, Ordering::Acquire).map(u16::from_le);
        flags.is_ok_and(|flags| flags & NO_INTERRUPT != 0)
    }

    /// QEMU holds the same open file, so that closing ours alone would leave it watched.
    fn unwatch(&mut self, epoll: &OwnedFd) {
        if let Some(kick) = self.kick.take() {
            let _ = epoll::delete(epoll, &kick);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn only_an_eventfd_is_kept_to_be_signalled() {
        let mut ring = Ring::new().unwrap();
        let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        ring.signal_to(Some(event.into())).unwrap();
        let (socket, _peer) = UnixStream::pair().unwrap();
        let (pipe, _end) = std::io::pipe().unwrap();
        for other in [
            OwnedFd::from(socket),
            pipe.into(),
            tempfile::tempfile().unwrap().into(),
        ] {
            let refused = ring.signal_to(Some(other.into()));
            assert!(matches!(refused, Err(RingError::NotAnEvent)), "{refused:?}");
        }
    }

    fn write(event: &OwnedFd, count: u64) {
        rustix::io::write(event, &count.to_ne_bytes()).unwrap();
    }

    /// How many events there are now.
    fn events(epoll: &OwnedFd) -> usize {
        let mut events = Vec::with_capacity(4);
        let buffer = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(epoll, buffer, Some(&AT_ONCE)).unwrap()
    }

    #[test]
    fn each_kick_is_an_event_though_none_is_read() {
        let mut ring = Ring::new().unwrap();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let kick = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let start = |ring: &mut Ring| {
            let shared = kick.try_clone().unwrap();
            ring.start(Some(shared.into()), &epoll, 7).unwrap();
        };
        start(&mut ring);
        assert_eq!(events(&epoll), 0);
        for _ in 0..3 {
            write(&kick, 1);
            assert_eq!(events(&epoll), 1);
            assert_eq!(events(&epoll), 0);
        }
        // What was kicked while nobody watched is not lost.
        ring.stop(&epoll);
        write(&kick, 1);
        assert_eq!(events(&epoll), 0);
        start(&mut ring);
        assert_eq!(events(&epoll), 1);
        assert_eq!(events(&epoll), 0);
    }

    /// Known attack: QEMU has the device's thread wait for ever in a signal to itself.
    #[test]
    fn a_full_counter_is_not_waited_for() {
        let mut ring = Ring::new().unwrap();
        let call = eventfd(0, EventfdFlags::empty()).unwrap();
        ring.signal_to(Some(call.try_clone().unwrap().into()))
            .unwrap();
        fcntl_setfl(&call, OFlags::empty()).unwrap();
        write(&call, u64::MAX - 1);
        let (done, is_done) = mpsc::channel();
        let ram = GuestMemoryMmap::default();
        std::thread::spawn(move || {
            ring.signal(&ram);
            done.send(ring).unwrap();
        });
        let mut ring = is_done.recv_timeout(Duration::from_secs(10)).unwrap();
        // One with room is signalled.
        let mut count = [0; 8];
        rustix::io::read(&call, &mut count).unwrap();
        ring.signal_to(Some(call.try_clone().unwrap().into()))
            .unwrap();
        ring.signal(&GuestMemoryMmap::default());
        rustix::io::read(&call, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }

    #[test]
    fn a_driver_that_looks_by_itself_is_not_signalled() {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        let mut ring = Ring::new().unwrap();
        let [descriptors, available, used] = [0, 0x2000, 0x3000].map(GuestAddress);
        ring.place(&ram, descriptors, available, used).unwrap();
        let call = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let shared = call.try_clone().unwrap();
        ring.signal_to(Some(shared.into())).unwrap();
        let mut count = [0; 8];
        for (flags, signalled) in [(NO_INTERRUPT, false), (0, true), (NO_INTERRUPT, false)] {
            ram.write_obj(flags.to_le(), available).unwrap();
            ring.give_back(&ram, 0, 0);
            ring.signal(&ram);
            assert_eq!(rustix::io::read(&call, &mut count).is_ok(), signalled);
        }
    }
}
