//! What ends a TCP connection with somebody outside of this host: what he says and the guest took, and nothing else.
//!
//! Known attack: somebody outside sends a RST or a FIN by another's address, without knowing the connection's numbers. The guest takes
//! neither (RFC 5961 section 3, RFC 9293 section 3.10.7.4), but here the connection would be over: forgotten, and both ends cut off. So
//! a RST counts where its number is the one that the guest wants next, as for the guest itself (RFC 5961 section 3.2), and a FIN when
//! the guest acknowledges it (RFC 9293 section 3.10.7.4). What does not count passes: the guest judges it.
//!
//! ```text
//!   outside ── FIN, whose end is n ──► its number is kept ──► the guest ── ACK of n ──► the other end has no more data
//!           ── RST of n ──► was n the guest's last ACK? ──► the connection is over; else it says nothing
//! ```
//!
//! A RST right behind data that the guest has not acknowledged yet does not count either: whoever is blind could send both. Such a
//! connection is known until it has idled, as one whose other end is gone.
//!
//! Guests of this host are known by where their frames come from: what they say counts by itself.

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

/// What a guest took of what somebody outside sends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Outside {
    /// What the guest acknowledged last: the number that it wants next.
    acknowledged: Option<u32>,
    /// Behind a FIN that the guest has not acknowledged yet.
    end: Option<u32>,
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

    /// The number behind it, where it is a FIN, which has a number of its own (RFC 9293 section 3.4).
    const fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.size).wrapping_add(1)
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
                let counts = state.is_half_open() || self.acknowledged == Some(segment.sequence);
                let step = counts.then(|| state.step(by_beginner, segment.flags));
                step.transpose()
            }
            Direction::Ingress => self.by_other_end(state, segment, by_beginner).map(Some),
        }
    }

    /// What the guest acknowledges with a segment.
    pub(super) fn hear(&mut self, segment: &Segment) {
        self.acknowledge(segment);
    }

    fn by_guest(
        &mut self,
        state: Tcp,
        segment: &Segment,
        by_beginner: bool,
    ) -> Result<Step, TcpError> {
        let step = state.step(by_beginner, segment.flags)?;
        let is_end = self.acknowledge(segment);
        Ok(match step {
            Step::On(next) if is_end => Step::On(next.close(!by_beginner)),
            step => step,
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
            self.keep(segment.end());
        }
        Ok(step)
    }

    /// Returns whether it is the FIN that the guest acknowledges.
    fn acknowledge(&mut self, segment: &Segment) -> bool {
        let number = segment.flags.has(Flags::ACK);
        let number = number.then_some(segment.acknowledgement);
        if segment.flags.has(Flags::SYN) && number != self.acknowledged {
            // The guest begins anew, by other numbers.
            *self = Self {
                acknowledged: number,
                end: None,
            };
            return false;
        }
        let Some(number) = number.filter(|number| self.is_further(*number)) else {
            return false;
        };
        self.acknowledged = Some(number);
        // What it acknowledges beyond was no end.
        let passed = self.end.take_if(|end| !is_after(*end, number));
        passed == Some(number)
    }

    fn is_further(&self, number: u32) -> bool {
        self.acknowledged
            .is_none_or(|known| is_after(number, known))
    }

    /// Keeps the number behind a FIN.
    ///
    /// Known attack: a FIN of what the guest has already, which it acknowledges once more: only one that it does not have counts.
    /// Known attack: wrong ones without end, so that the right one is forgotten before it is acknowledged: the nearest is kept.
    fn keep(&mut self, end: u32) {
        let Some(known) = self.acknowledged else {
            return;
        };
        let ahead = |end: u32| end.wrapping_sub(known);
        let may_be = (1..=LARGEST_WINDOW).contains(&ahead(end));
        if may_be && self.end.is_none_or(|other| ahead(end) < ahead(other)) {
            self.end = Some(end);
        }
    }
}

/// Of two numbers that wrap around (RFC 9293 section 3.4).
const fn is_after(number: u32, other: u32) -> bool {
    let ahead = number.wrapping_sub(other);
    ahead != 0 && ahead < 1 << 31
}

#[cfg(test)]
mod tests;
