//! A TCP connection as seen from its middle (RFC 9293 section 3.3.2).
//!
//! ```text
//!   SYN ► Asked ── SYN+ACK ◄ ── Answered ── ACK ► ── Open ── FIN ► or ◄ ── Closing ── the other FIN ── Closed
//!     any ── RST ── Reset                                    Closed, Reset ── SYN ── a new connection
//!
//!   a segment of a connection whose handshake nobody saw ── PickedUp ── one of the other end's ── Open
//! ```
//!
//! Known attack: data without a handshake, or segments with flags that mean nothing, pass a filter that looks at ports alone,
//! and tell a scanner what it wants to know. Sequence numbers are the ends' to check, but of what comes from outside of this host, where it
//! ends a connection (`outside.rs`).

use std::time::Duration;

use crate::net::frame::Flags;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tcp {
    Asked,
    Answered,
    Open,
    /// Whether who began it has no more data; otherwise the other end has none.
    Closing(bool),
    Closed,
    Reset,
    /// Known by segments of one end alone: whether of who began it.
    PickedUp(bool),
}

/// A segment breaks TCP's rules.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum TcpError {
    /// Flags that no segment has.
    #[error("the TCP segment has flags that mean nothing")]
    Flags,
    /// It does not begin with a SYN, or goes on before that is answered.
    #[error("the TCP segment has no handshake before it")]
    Handshake,
}

/// What a segment is to the connection that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Of it, which is so far then.
    On(Tcp),
    /// The first of another.
    Anew,
}

/// Flags that contradict one another, or nothing that a segment could be.
pub(super) fn check(flags: Flags) -> Result<(), TcpError> {
    let syn = flags.has(Flags::SYN);
    let bare = !flags.has(Flags::SYN | Flags::ACK | Flags::RST);
    let torn = syn && flags.has(Flags::FIN | Flags::RST);
    let fin_alone = flags.has(Flags::FIN) && !flags.has(Flags::ACK | Flags::RST);
    if bare || torn || fin_alone {
        Err(TcpError::Flags)
    } else {
        Ok(())
    }
}

/// Whether a segment asks for a connection.
pub(super) fn begins(flags: Flags) -> bool {
    flags.has(Flags::SYN) && !flags.has(Flags::ACK)
}

impl Tcp {
    /// Takes a segment, whose flags were checked, of whoever began the connection, or of the other end.
    pub(super) fn step(self, by_beginner: bool, flags: Flags) -> Result<Step, TcpError> {
        let (syn, ack) = (flags.has(Flags::SYN), flags.has(Flags::ACK));
        if flags.has(Flags::RST) {
            return Ok(Step::On(Self::Reset));
        }
        let next = match (self, by_beginner) {
            (Self::Closed | Self::Reset, _) if begins(flags) => return Ok(Step::Anew),
            // What is left of it on its way: acknowledgements, repetitions.
            (Self::Closed, _) if !syn => Self::Closed,
            (Self::Asked, true) if begins(flags) => Self::Asked,
            (Self::Asked, false) if syn && ack => Self::Answered,
            (Self::Answered, false) if syn && ack => Self::Answered,
            (Self::Answered, true) if begins(flags) => Self::Answered,
            (Self::Answered, true) if ack && !syn => Self::Open.after(true, flags),
            // Of an end that has forgotten the connection: the other one says so (RFC 9293 section 3.10.7.4).
            (Self::Open | Self::Closing(_), true) if begins(flags) => self,
            (Self::Open | Self::Closing(_), false) if syn && ack => self,
            (Self::Open | Self::Closing(_), by) if ack && !syn => self.after(by, flags),
            (Self::PickedUp(known), by) if ack && !syn => match by == known {
                true => self,
                false => Self::Open.after(by, flags),
            },
            _ => return Err(TcpError::Handshake),
        };
        Ok(Step::On(next))
    }

    const fn after(self, by_beginner: bool, flags: Flags) -> Self {
        if flags.has(Flags::FIN) {
            self.close(by_beginner)
        } else {
            self
        }
    }

    /// That end has no more data.
    pub(super) const fn close(self, by_beginner: bool) -> Self {
        match self {
            Self::Open => Self::Closing(by_beginner),
            Self::Closing(by) if by != by_beginner => Self::Closed,
            _ => self,
        }
    }

    /// That end has more data after all.
    pub(super) const fn reopen(self, by_beginner: bool) -> Self {
        match self {
            Self::Closing(by) if by == by_beginner => Self::Open,
            _ => self,
        }
    }

    /// Whether both ends have shown that they are there.
    pub(super) const fn is_half_open(self) -> bool {
        matches!(self, Self::Asked | Self::Answered | Self::PickedUp(_))
    }

    /// Whether it has ended, so that what still comes of it keeps it no longer.
    pub(super) const fn has_ended(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }

    /// How long it is known without a segment.
    pub(super) const fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Asked | Self::Answered | Self::PickedUp(_) => 30,
            // As long as hosts let a connection idle before they ask (RFC 5382 REQ-5), and some.
            Self::Open => 3 * 3600,
            Self::Closing(_) => 120,
            Self::Closed => 30,
            Self::Reset => 5,
        })
    }
}

#[cfg(test)]
mod tests;
