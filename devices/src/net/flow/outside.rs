//! What ends a TCP connection with somebody outside of this host: what he says and the guest took, and nothing else.
//!
//! Known attack: somebody outside sends a RST or a FIN by another's address, without knowing the connection's numbers. The guest takes
//! neither (RFC 5961 section 3, RFC 9293 section 3.10.7.4), but here the connection would be over: forgotten, and both ends cut off. So
//! a RST counts where its number is the one that the guest wants next (RFC 5961 section 3.2), and a FIN when
//! the guest acknowledges it (RFC 9293 section 3.10.7.4). What does not count passes: the guest judges it.
//!
//! ```text
//!   outside ── FIN, whose end is n ──► its number is kept ──► the guest ── ACK of n ──► the other end has no more data
//!           ── RST of n ──► was n the guest's last ACK, or the end of what it was given in order since? ──► the connection is over;
//!                           else it says nothing
//! ```
//!
//! What is given in order follows on from what the guest acknowledged, without a gap: whoever is blind has to hit its number, too. A RST behind a gap
//! does not count. Such a connection is known until it has idled, as one whose other end is gone.
//!
//! Guests of this host are known by where their frames come from: what they say counts by itself.

use std::num::NonZeroU32;

use bartizan_local::flow::Direction;

use super::tcp::{Step, Tcp, TcpError};
use crate::net::frame::{Flags, Ip, Transport};

/// No window is larger (RFC 7323 section 2.3), so that nothing that the guest may still take ends further ahead.
const LARGEST_WINDOW: u32 = 1 << 30;

/// A segment, as far as it is looked at here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    flags: Flags,
    sequence: u32,
    acknowledgement: u32,
    /// Bytes of data.
    size: u32,
}

/// What a guest took of what somebody outside sends, and what it was given beyond.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Outside {
    /// What the guest acknowledged last.
    acknowledged: Option<u32>,
    /// How much further it was given all, in order.
    given: u32,
    /// How much further a FIN ends that it has not acknowledged yet.
    end: Option<NonZeroU32>,
}

impl Segment {
    pub(super) fn of(ip: &Ip) -> Option<Self> {
        let Transport::Tcp {
            flags,
            sequence,
            acknowledgement,
            header,
            ..
        } = ip.transport
        else {
            return None;
        };
        let size = ip.end.checked_sub(ip.transport_at)?.checked_sub(header)?;
        Some(Self {
            flags,
            sequence,
            acknowledgement,
            size: u32::try_from(size).ok()?,
        })
    }

    /// How many numbers it has: a FIN has one of its own (RFC 9293 section 3.4).
    fn length(&self) -> u32 {
        self.size + u32::from(self.flags.has(Flags::FIN))
    }
}

impl Outside {
    /// Takes a segment, whose flags were checked, of a connection that is so far. None where it says nothing of that.
    pub(super) fn step(
        &mut self,
        state: Tcp,
        segment: &Segment,
        way: Direction,
        by_beginner: bool,
    ) -> Result<Option<Step>, TcpError> {
        match way {
            Direction::Egress => self.by_guest(state, segment, by_beginner).map(Some),
            Direction::Ingress if segment.flags.has(Flags::RST) => {
                let counts = state.is_half_open() || self.is_wanted(segment.sequence);
                let step = counts.then(|| state.step(by_beginner, segment.flags));
                step.transpose()
            }
            Direction::Ingress => self.by_other_end(state, segment, by_beginner).map(Some),
        }
    }

    /// What the guest acknowledges with a segment.
    pub(super) fn hear(&mut self, segment: &Segment) {
        let _ = self.acknowledge(segment);
    }

    fn by_guest(
        &mut self,
        state: Tcp,
        segment: &Segment,
        by_beginner: bool,
    ) -> Result<Step, TcpError> {
        let step = state.step(by_beginner, segment.flags)?;
        Ok(match (step, self.acknowledge(segment)) {
            (Step::On(next), Took::End) => Step::On(next.close(!by_beginner)),
            // What it acknowledged before by chance was no end.
            (Step::On(next), Took::More) => Step::On(next.reopen(!by_beginner)),
            (step, _) => step,
        })
    }

    /// No RST. If it is a FIN, it is one when the guest says so.
    fn by_other_end(
        &mut self,
        state: Tcp,
        segment: &Segment,
        by_beginner: bool,
    ) -> Result<Step, TcpError> {
        let step = state.step(by_beginner, segment.flags.without(Flags::FIN))?;
        if segment.flags.has(Flags::FIN) {
            self.keep(segment);
        }
        if !segment.flags.has(Flags::SYN) && self.is_next(segment.sequence) {
            self.given = self.given.saturating_add(segment.length());
        }
        Ok(step)
    }

    fn acknowledge(&mut self, segment: &Segment) -> Took {
        let number = segment.flags.has(Flags::ACK);
        let number = number.then_some(segment.acknowledgement);
        if segment.flags.has(Flags::SYN) && number != self.acknowledged {
            // The guest begins anew, by other numbers.
            *self = Self {
                acknowledged: number,
                ..Self::default()
            };
            return Took::Nothing;
        }
        let Some(number) = number else {
            return Took::Nothing;
        };
        let ahead = self.ahead(number).unwrap_or(0);
        // Of two numbers that wrap around (RFC 9293 section 3.4), one before the other.
        let is_further = ahead != 0 && ahead < 1 << 31;
        if self.acknowledged.is_some() && !is_further {
            return Took::Nothing;
        }
        self.acknowledged = Some(number);
        self.given = self.given.saturating_sub(ahead);
        let end = self.end.take();
        // What it acknowledges beyond was no end.
        self.end = end.and_then(|end| NonZeroU32::new(end.get().saturating_sub(ahead)));
        if end.is_some_and(|end| end.get() == ahead) {
            Took::End
        } else {
            Took::More
        }
    }

    /// How far a number is beyond what the guest acknowledged.
    fn ahead(&self, number: u32) -> Option<u32> {
        self.acknowledged.map(|known| number.wrapping_sub(known))
    }

    /// Whether it follows on from all that the guest was given.
    fn is_next(&self, number: u32) -> bool {
        self.ahead(number) == Some(self.given)
    }

    /// Whether the guest, when it gets it, takes a RST of that number: it may not have looked yet at what it was given just before.
    fn is_wanted(&self, number: u32) -> bool {
        self.ahead(number) == Some(0) || self.is_next(number)
    }

    /// Keeps where a FIN ends.
    ///
    /// Known attack: a FIN of what the guest has already, which it acknowledges once more: only one that it does not have counts.
    /// Known attack: wrong ones without end, so that the right one is forgotten before it is acknowledged: the nearest is kept.
    fn keep(&mut self, fin: &Segment) {
        let end = self.ahead(fin.sequence.wrapping_add(fin.length()));
        let end = end.filter(|end| *end <= LARGEST_WINDOW);
        let Some(end) = end.and_then(NonZeroU32::new) else {
            return;
        };
        if self.end.is_none_or(|other| end < other) {
            self.end = Some(end);
        }
    }
}

/// What the guest acknowledges with a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Took {
    /// What it did before.
    Nothing,
    /// The FIN.
    End,
    /// Something else.
    More,
}

#[cfg(test)]
mod tests;
