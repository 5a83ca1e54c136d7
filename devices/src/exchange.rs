//! Moving packets between a guest's rings and its switch.

use crate::vhost_user::{Backend, Buffers, PiecesError, Rings, View};
use crate::vsock::{HEADER_LEN, Switch, read_packet, room, write_packet};

/// Packets each way before QEMU's messages and the host's sockets are looked at again.
const BATCH: usize = 128;

/// The working memory of one guest's exchange.
pub struct Exchange {
    cid: u32,
    payload: Vec<u8>,
    dropped: u64,
}

impl Exchange {
    /// For guest `cid`.
    #[must_use]
    pub fn new(cid: u32) -> Self {
        Self {
            cid,
            payload: Vec::new(),
            dropped: 0,
        }
    }

    /// Moves at most a batch of packets each way and signals the guest. Returns whether there may be
    /// more to move at once.
    pub fn turn(&mut self, backend: &mut Backend, switch: &mut Switch) -> bool {
        let view = View::of(&backend.ram.memory);
        let Some(rings) = backend.pairs.first_mut() else {
            return false;
        };
        let taken = self.take(&view, rings, switch);
        let given = self.give(&view, rings, switch);
        // Room for resets may have been made that the tx ring waited for.
        let is_waiting = taken == Stop::SwitchFull && switch.is_open();
        rings.tx.signal(&view);
        rings.rx.signal(&view);
        taken == Stop::Batch || given == Stop::Batch || is_waiting
    }

    fn take(&mut self, view: &View<'_>, rings: &mut Rings, switch: &mut Switch) -> Stop {
        for _ in 0..BATCH {
            if !switch.is_open() {
                return Stop::SwitchFull;
            }
            let Some(chain) = rings.tx.pop(view) else {
                return Stop::Empty;
            };
            let head = chain.head_index();
            match read_packet(chain, &mut self.payload) {
                Ok(header) => {
                    if let Err(error) = switch.receive(&header, &self.payload) {
                        self.count_dropped(&error);
                    }
                }
                Err(error) => self.count_dropped(&error),
            }
            rings.tx.give_back(view, head, 0);
        }
        Stop::Batch
    }

    fn give(&mut self, view: &View<'_>, rings: &mut Rings, switch: &mut Switch) -> Stop {
        let rx = &mut rings.rx;
        for _ in 0..BATCH {
            if !switch.has_packets() {
                return Stop::Empty;
            }
            let Some(chain) = rx.pop(view) else {
                return Stop::Empty;
            };
            let mut buffers = Buffers::of(chain);
            let head = buffers.head_index();
            let Some(room) = room(&buffers).checked_sub(HEADER_LEN) else {
                self.count_dropped(&PiecesError::TooShort {
                    missing: HEADER_LEN,
                });
                rx.give_back(view, head, 0);
                continue;
            };
            let Some(header) = switch.next_packet(room, &mut self.payload) else {
                rx.unpop();
                return Stop::Empty;
            };
            let written = write_packet(&mut buffers, &header, &self.payload)
                .inspect_err(|error| self.count_dropped(error))
                .unwrap_or(0);
            rx.give_back(view, head, written);
        }
        Stop::Batch
    }

    /// A hostile guest can cause this at will: only powers of two are logged.
    fn count_dropped(&mut self, error: &dyn std::error::Error) {
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            tracing::warn!(cid = self.cid, dropped = self.dropped, %error, "dropped a packet");
        }
    }
}

/// Why a direction stopped.
#[derive(PartialEq, Eq)]
enum Stop {
    /// Nothing more to move.
    Empty,
    /// The switch takes no more until resets went out.
    SwitchFull,
    /// The batch is full.
    Batch,
}

#[cfg(test)]
mod tests;
