//! What other threads have for a guest's: packets, and what was decided.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bartizan_local::flow::{Epoch, Verdict};
use rustix::event::{EventfdFlags, eventfd};

use super::packet::Packet;

/// Most that waits for a guest's thread: packets, bytes of them, verdicts.
const MOST_PACKETS: usize = 1024;
const MOST_BYTES: usize = 4 << 20;
const MOST_VERDICTS: usize = 1024;

/// A guest's inbox. Its eventfd is this process's alone: nobody else can have a thread wait in it.
#[derive(Debug)]
pub struct Inbox {
    mail: Mutex<Mail>,
    wake: OwnedFd,
}

/// What was in it. Of what replaces what was said before, only the last.
#[derive(Debug, Default)]
pub struct Mail {
    /// For the guest, in order.
    pub packets: VecDeque<Packet>,
    bytes: usize,
    /// Answers to its questions.
    pub verdicts: Vec<Verdict>,
    /// Somebody else decides from now on, and has told nothing yet.
    pub anew: bool,
    /// What was decided before does not hold any more.
    pub epoch: Option<Epoch>,
    /// Whether it is cut from every network.
    pub isolated: Option<bool>,
    /// Whether somebody can decide now.
    pub available: Option<bool>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            mail: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Is readable from something's coming until [`Self::take`].
    #[must_use]
    pub const fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// Puts packets in; returns how many there was no room for.
    pub fn put(&self, packets: impl IntoIterator<Item = Packet>) -> usize {
        let mut lost = 0;
        self.change(|mail| {
            for packet in packets {
                let bytes = mail.bytes + packet.bytes.len();
                if mail.packets.len() >= MOST_PACKETS || bytes > MOST_BYTES {
                    lost += 1;
                } else {
                    mail.bytes = bytes;
                    mail.packets.push_back(packet);
                }
            }
        });
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

    /// Somebody else decides from now on: what the former one has said, and was not looked at, counts no more.
    pub fn begin_anew(&self) {
        self.change(|mail| {
            mail.anew = true;
            mail.epoch = None;
            mail.verdicts.clear();
            mail.available = Some(true);
        });
    }

    /// Changes what it says.
    pub fn change(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.lock());
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Takes all that is in it, but packets only where they are wanted.
    pub fn take(&self, packets: bool) -> Mail {
        // Before looking: what comes in between wakes once more.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let mut mail = self.lock();
        let mut taken = std::mem::take(&mut *mail);
        if !packets {
            std::mem::swap(&mut taken.packets, &mut mail.packets);
            std::mem::swap(&mut taken.bytes, &mut mail.bytes);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
