//! Flow control of one connection, both ways (virtio 1.2 section 5.10.6.3).
//!
//! Each side tells in every packet how large its receive buffer is (`buf_alloc`) and how many bytes it
//! has taken out of it so far (`fwd_cnt`). All counters wrap at 2^32.

/// The device's receive buffer of one connection, in bytes: what one connection can make the
/// device hold for a host service that does not read.
pub const BUFFER: u32 = 128 << 10;

/// Counters of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credit {
    peer_alloc: u32,
    peer_forwarded: u32,
    sent: u32,
    received: u32,
    forwarded: u32,
    told: u32,
}

/// The guest did what the flow control forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreditError {
    /// It sent more than it was allowed to.
    #[error("{sent} bytes were sent against a credit of {credit}")]
    Exceeded {
        /// Payload in bytes.
        sent: usize,
        /// What was left of the credit, in bytes.
        credit: u32,
    },
    /// It claims to have taken out more than was sent to it.
    #[error("more bytes are claimed to be received than were sent")]
    Impossible,
}

impl Credit {
    /// A connection of which nothing was sent yet, by the guest's first packet.
    #[must_use]
    pub fn new(buf_alloc: u32) -> Self {
        Self {
            peer_alloc: buf_alloc,
            peer_forwarded: 0,
            sent: 0,
            received: 0,
            forwarded: 0,
            told: 0,
        }
    }

    /// Takes the guest's news. A count older than one seen before is ignored: packets of one
    /// connection may overtake one another inside the guest.
    pub fn learn(&mut self, buf_alloc: u32, fwd_cnt: u32) -> Result<(), CreditError> {
        let unread = self.sent.wrapping_sub(fwd_cnt);
        if unread > u32::MAX / 2 {
            return Err(CreditError::Impossible);
        }
        self.peer_alloc = buf_alloc;
        if unread < self.sent.wrapping_sub(self.peer_forwarded) {
            self.peer_forwarded = fwd_cnt;
        }
        Ok(())
    }

    /// How many bytes the guest can take now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.peer_alloc
            .saturating_sub(self.sent.wrapping_sub(self.peer_forwarded)) as usize
    }

    /// `bytes`, at most [`Self::available`], go to the guest.
    pub fn send(&mut self, bytes: u32) {
        self.sent = self.sent.wrapping_add(bytes);
    }

    /// `bytes` came from the guest.
    pub fn receive(&mut self, bytes: usize) -> Result<(), CreditError> {
        let credit = BUFFER - self.received.wrapping_sub(self.forwarded);
        match u32::try_from(bytes) {
            Ok(count) if count <= credit => {
                self.received = self.received.wrapping_add(count);
                Ok(())
            }
            _ => Err(CreditError::Exceeded {
                sent: bytes,
                credit,
            }),
        }
    }

    /// `bytes` of those received went on to the host service.
    pub fn forward(&mut self, bytes: u32) {
        self.forwarded = self.forwarded.wrapping_add(bytes);
    }

    /// Whether the guest must be told of freed space, lest it stalls: when it may believe that less
    /// than half of the buffer is free.
    #[must_use]
    pub fn is_update_due(&self) -> bool {
        self.forwarded != self.told && self.received.wrapping_sub(self.told) >= BUFFER / 2
    }

    /// `buf_alloc` and `fwd_cnt` for the next packet to the guest, which thereby knows them.
    pub fn tell(&mut self) -> (u32, u32) {
        self.told = self.forwarded;
        (BUFFER, self.forwarded)
    }
}

#[cfg(test)]
mod tests;
