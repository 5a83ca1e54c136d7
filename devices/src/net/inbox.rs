//! What other threads have for a guest's: packets, and what was decided.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_local::flow::{Epoch, Fallback, Noted, Resolvers, Verdict};
use rustix::event::{EventfdFlags, eventfd};

use super::frame::Mac;
use super::observation::Ask;
use super::packet::Packet;
use super::shares::Shares;
use super::spares::Spares;

/// Most that waits for a guest's thread: packets, bytes of them, verdicts, what is noted. One sender alone gets half of the former two.
///
/// Known attack: one guest sends so much to another that nothing of the others' gets there, whether its packets are allowed or
/// not, since that is looked at by the receiver's thread.
const MOST_PACKETS: usize = 2048;
const MOST_BYTES: usize = 8 << 20;
const MOST_VERDICTS: usize = 1024;
const MOST_NOTED: usize = 512;

/// A guest's inbox. Its eventfd is this process's alone: nobody else can have a thread wait in it.
#[derive(Debug)]
pub struct Inbox {
    content: Mutex<Content>,
    wake: OwnedFd,
}

#[derive(Debug)]
struct Content {
    mail: Mail,
    /// Of those packets, by their senders.
    packets: Shares<Mac>,
    bytes: Shares<Mac>,
    /// What others may send the next ones in.
    spares: Spares,
    /// Whether somebody wakes the guest's thread, who put in something since that looked last.
    has_woken: bool,
}

/// What was in it. Of what replaces what was said before, only the last.
#[derive(Debug, Default)]
pub struct Mail {
    /// For the guest, in order.
    pub packets: VecDeque<Packet>,
    /// Answers to its questions.
    pub verdicts: Vec<Verdict>,
    /// DNS answers for it that are known.
    pub noted: Vec<Noted>,
    /// Somebody else decides from now on, and has told nothing yet.
    pub anew: bool,
    /// Whose DNS answers count.
    pub resolvers: Option<Arc<Resolvers>>,
    /// What was decided before does not hold any more.
    pub epoch: Option<ToldBy<Epoch>>,
    /// What may begin while nobody can decide.
    pub fallback: Option<Arc<Fallback>>,
    /// Whether it is cut from every network.
    pub isolated: Option<bool>,
    /// Whether somebody can decide now.
    pub available: Option<bool>,
    /// What is to be seen of its flows.
    pub asks: Vec<Ask>,
}

/// What one of those who decide one after another has told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ToldBy<T> {
    /// Which link it came by.
    pub link: u64,
    /// What.
    pub what: T,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            content: Mutex::new(Content {
                mail: Mail::default(),
                packets: Shares::new(MOST_PACKETS),
                bytes: Shares::new(MOST_BYTES),
                spares: Spares::default(),
                has_woken: false,
            }),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Is readable from something's coming until [`Self::take`].
    #[must_use]
    pub const fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// Puts packets in; returns how many there was no room for.
    pub fn put(&self, packets: impl IntoIterator<Item = Packet>) -> u64 {
        let mut lost = 0;
        let mut content = self.lock();
        let Content {
            mail,
            packets: counts,
            bytes,
            ..
        } = &mut *content;
        let mut packets = packets.into_iter().peekable();
        while let Some(first) = packets.peek() {
            let sender = first.frame.source;
            // Most of the time all of them are one's.
            let (mut counts, mut bytes) = (counts.share(sender), bytes.share(sender));
            while let Some(packet) = packets.next_if(|packet| packet.frame.source == sender) {
                let size = packet.bytes.len();
                if counts.fits(1) && bytes.fits(size) {
                    counts.add(1);
                    bytes.add(size);
                    mail.packets.push_back(packet);
                } else {
                    lost += 1;
                }
            }
        }
        self.notify(content);
        lost
    }

    /// Puts an answer in. One for which there is no room is lost: its flow is asked about again.
    pub fn answer(&self, verdict: Verdict) {
        self.change(|mail| {
            if mail.verdicts.len() < MOST_VERDICTS {
                mail.verdicts.push(verdict);
            }
        });
    }

    /// Puts in that an answer is known. One for which there is no room is lost: the guest asks again.
    pub fn note(&self, noted: Noted) {
        self.change(|mail| {
            if mail.noted.len() < MOST_NOTED {
                mail.noted.push(noted);
            }
        });
    }

    /// Somebody else decides from now on: what the former one has said, and was not looked at, counts no more.
    pub fn begin_anew(&self) {
        self.change(|mail| {
            mail.anew = true;
            mail.epoch = None;
            mail.fallback = None;
            mail.resolvers = None;
            mail.verdicts.clear();
            mail.noted.clear();
            mail.available = Some(true);
        });
    }

    /// Changes what it says.
    pub fn change(&self, change: impl FnOnce(&mut Mail)) {
        let mut content = self.lock();
        change(&mut content.mail);
        self.notify(content);
    }

    /// Takes all that is in it, but packets only where they are wanted: then there is an empty queue whose room is used again.
    pub fn take(&self, wanted: Option<VecDeque<Packet>>) -> Mail {
        // Before looking: what comes in between wakes once more.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let mut content = self.lock();
        content.has_woken = false;
        let mut taken = std::mem::take(&mut content.mail);
        if let Some(room) = wanted {
            content.packets.clear();
            content.bytes.clear();
            content.mail.packets = room;
        } else {
            std::mem::swap(&mut taken.packets, &mut content.mail.packets);
        }
        taken
    }

    /// Leaves packets' memory for those who send.
    pub fn leave_spares(&self, spares: &mut Spares) {
        spares.move_to(&mut self.lock().spares);
    }

    /// Fetches it.
    pub fn fetch_spares(&self, into: &mut Spares) {
        self.lock().spares.move_to(into);
    }

    /// One wakes for all who come until the guest's thread looks. Not under the lock, which that takes at once.
    fn notify(&self, mut content: MutexGuard<'_, Content>) {
        let has_woken = std::mem::replace(&mut content.has_woken, true);
        drop(content);
        if !has_woken {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sample::{ipv4, station, udp};

    fn packet(from: u8) -> Packet {
        Packet::own(ipv4(station(from), station(9), 17, &udp(1, 2, b"data"))).unwrap()
    }

    fn wakes(inbox: &Inbox) -> u64 {
        let mut count = [0; 8];
        let read = rustix::io::read(inbox.wake(), &mut count);
        read.map_or(0, |_| u64::from_ne_bytes(count))
    }

    #[test]
    fn who_has_not_looked_yet_is_woken_once() {
        let inbox = Inbox::new().unwrap();
        inbox.put([packet(1)]);
        inbox.put([packet(2)]);
        inbox.change(|mail| mail.available = Some(true));
        assert_eq!(wakes(&inbox), 1);
        // Whoever has looked is woken again, whatever it left.
        for wanted in [None, Some(VecDeque::new())] {
            inbox.take(wanted);
            assert_eq!(wakes(&inbox), 0);
            inbox.put([packet(1)]);
            assert_eq!(wakes(&inbox), 1);
        }
    }

    /// Known attack: one sender fills the inbox.
    #[test]
    fn a_flood_by_one_leaves_room_for_the_others() {
        let inbox = Inbox::new().unwrap();
        let flood = (0..1_000_000).map(|_| packet(1));
        assert_eq!(inbox.put(flood), 1_000_000 - MOST_PACKETS as u64 / 2);
        assert_eq!(inbox.put((0..100).map(|_| packet(2))), 0);
        let sizes = |mail: &Mail| mail.packets.len();
        // What is not taken is still counted.
        assert_eq!(sizes(&inbox.take(None)), 0);
        assert_eq!(inbox.put([packet(1)]), 1);
        assert_eq!(
            sizes(&inbox.take(Some(VecDeque::new()))),
            MOST_PACKETS / 2 + 100
        );
        assert_eq!(inbox.put([packet(1)]), 0);
    }
}
