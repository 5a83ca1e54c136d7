//! What guests send outside, on its way to the uplink's thread.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::net::fabric::Station;
use crate::net::frame::Mac;
use crate::net::packet::Packet;
use crate::net::shares::Shares;

/// Most that waits for the uplink's thread: packets, bytes of them. One guest alone gets half of either.
///
/// Known attack: a guest sends outside so much that nothing of the others' gets there.
pub(super) const MOST_PACKETS: usize = 2048;
const MOST_BYTES: usize = 8 << 20;

/// A packet that was let pass.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Whose.
    station: Arc<Station>,
    pub(super) packet: Packet,
}

/// What waits. Its eventfd is this process's alone.
#[derive(Debug)]
pub(in crate::net) struct Outbox {
    content: Mutex<Content>,
    wake: OwnedFd,
}

#[derive(Debug)]
struct Content {
    /// Nobody takes anything any more.
    is_closed: bool,
    packets: VecDeque<Outgoing>,
    counts: Shares<Mac>,
    bytes: Shares<Mac>,
}

impl Outgoing {
    /// Whose it is.
    pub(super) fn sender(&self) -> Mac {
        Mac(self.station.interface.mac)
    }

    /// Whose it is.
    pub(super) const fn station(&self) -> &Arc<Station> {
        &self.station
    }

    /// Whether what let it pass still holds.
    pub(super) fn is_present(&self) -> bool {
        Some(*self.station.era.present()) == self.packet.era
    }

    /// Has it leave, unless what let it pass does not hold any more.
    pub(super) fn leave<T>(self, leave: impl FnOnce(Packet) -> T) -> Option<T> {
        let present = self.station.era.present();
        (Some(*present) == self.packet.era).then(|| leave(self.packet))
    }
}

impl Outbox {
    /// An empty one.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            content: Mutex::new(Content {
                is_closed: false,
                packets: VecDeque::new(),
                counts: Shares::new(MOST_PACKETS),
                bytes: Shares::new(MOST_BYTES),
            }),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Is readable from something's coming until [`Self::take`].
    pub(super) const fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// Puts a guest's packets in, from its own thread; returns how many there was no room for.
    pub(in crate::net) fn put(
        &self,
        station: &Arc<Station>,
        packets: impl IntoIterator<Item = Packet>,
    ) -> u64 {
        let sender = Mac(station.interface.mac);
        let mut lost = 0;
        let mut content = self.lock();
        let Content {
            is_closed,
            packets: waiting,
            counts,
            bytes,
        } = &mut *content;
        let (mut counts, mut bytes) = (counts.share(sender), bytes.share(sender));
        for packet in packets {
            let size = packet.bytes.len();
            if *is_closed || !counts.fits(1) || !bytes.fits(size) {
                lost += 1;
                continue;
            }
            counts.add(1);
            bytes.add(size);
            let station = Arc::clone(station);
            waiting.push_back(Outgoing { station, packet });
        }
        drop(content);
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        lost
    }

    /// Takes nothing any more, and lets go of what waits: its thread has ended.
    pub(super) fn close(&self) {
        let mut content = self.lock();
        content.is_closed = true;
        content.packets = VecDeque::new();
        content.counts.clear();
        content.bytes.clear();
    }

    /// Takes all, for an empty queue whose room is used again.
    pub(super) fn take(&self, room: VecDeque<Outgoing>) -> VecDeque<Outgoing> {
        // Before looking: what comes in between wakes once more.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let mut content = self.lock();
        content.counts.clear();
        content.bytes.clear();
        std::mem::replace(&mut content.packets, room)
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
