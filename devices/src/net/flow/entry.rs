//! What is known of one flow.

use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Epoch, Flow};

use super::record::Record;
use super::tcp::{self, Step, Tcp, TcpError};
use super::verdicts::Ruling;
use crate::net::frame::{Flags, Transport};
use crate::net::packet::Packet;

/// How long a flow waits for its verdict, and how long one that was denied is remembered.
const WAITING: Duration = Duration::from_secs(10);

/// A flow.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it is asked about.
    pub(super) flow: Flow,
    pub(super) standing: Standing,
    progress: Progress,
    began: Instant,
    last: Instant,
    /// Of the guest's packets, and of those for it.
    bytes: [u64; 2],
}

/// What may become of a flow's packets.
#[derive(Debug)]
pub(super) enum Standing {
    /// They wait for the verdict on the question of that number.
    Asked(u64, Vec<(Direction, Packet)>),
    /// It was decided.
    Judged(Ruling),
}

/// How far it is, by its protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Tcp(Tcp),
    /// Whether there was an answer.
    Other(bool),
}

/// What a packet is to a flow that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Of it.
    OfIt,
    /// The first one of another in its place.
    Anew,
}

impl Entry {
    /// A flow that begins with this packet, whose verdict is not known yet.
    pub(super) fn begin(
        flow: Flow,
        standing: Standing,
        transport: &Transport,
        now: Instant,
    ) -> Self {
        let progress = match transport {
            Transport::Tcp { .. } => Progress::Tcp(Tcp::Asked),
            _ => Progress::Other(false),
        };
        Self {
            flow,
            standing,
            progress,
            began: now,
            last: now,
            bytes: [0; 2],
        }
    }

    /// Whether a packet may begin a flow.
    pub(super) fn may_begin(transport: &Transport) -> Result<(), TcpError> {
        match transport {
            Transport::Tcp { flags, .. } => {
                tcp::check(*flags)?;
                if tcp::begins(*flags) {
                    Ok(())
                } else {
                    Err(TcpError::Handshake)
                }
            }
            _ => Ok(()),
        }
    }

    /// Takes a packet that goes that way.
    pub(super) fn see(
        &mut self,
        transport: &Transport,
        way: Direction,
        now: Instant,
    ) -> Result<Seen, TcpError> {
        let by_beginner = way == self.flow.direction;
        match (&mut self.progress, transport) {
            (Progress::Tcp(state), Transport::Tcp { flags, .. }) => {
                let flags: Flags = *flags;
                tcp::check(flags)?;
                match state.step(by_beginner, flags)? {
                    Step::On(next) => *state = next,
                    Step::Anew => return Ok(Seen::Anew),
                }
            }
            (Progress::Other(answered), _) => *answered |= !by_beginner,
            (Progress::Tcp(_), _) => return Err(TcpError::Flags),
        }
        self.last = now;
        Ok(Seen::OfIt)
    }

    pub(super) fn count(&mut self, way: Direction, size: usize) {
        let [egress, ingress] = &mut self.bytes;
        let bytes = match way {
            Direction::Egress => egress,
            Direction::Ingress => ingress,
        };
        *bytes = bytes.saturating_add(size as u64);
    }

    /// Whether its verdict is waited for.
    pub(super) const fn is_asked(&self) -> bool {
        matches!(self.standing, Standing::Asked(..))
    }

    /// Whether it has to be asked about again, or was decided by another judge.
    pub(super) fn is_stale(&self, present: Epoch, judge: u64) -> bool {
        let of_another = |ruling: &Ruling| judge != ruling.judge;
        matches!(&self.standing, Standing::Judged(ruling) if !ruling.epoch.holds_in(present) || of_another(ruling))
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let patience = match (&self.standing, self.progress) {
            (Standing::Asked(..), _) => WAITING,
            (Standing::Judged(ruling), _) if !ruling.allowed => WAITING,
            (_, Progress::Tcp(tcp)) => tcp.patience(),
            // RFC 4787 REQ-5 wants two minutes and more of UDP.
            (_, Progress::Other(true)) => Duration::from_secs(180),
            (_, Progress::Other(false)) => Duration::from_secs(30),
        };
        now.saturating_duration_since(self.last) >= patience
    }

    /// What is to be told of it.
    pub(super) fn record(&self) -> Record {
        let (allowed, reason) = match &self.standing {
            Standing::Judged(ruling) => (ruling.allowed, Some(ruling.reason.clone())),
            Standing::Asked(..) => (false, None),
        };
        let [sent, received] = self.bytes;
        Record {
            flow: self.flow,
            began: self.began,
            last: self.last,
            sent,
            received,
            allowed,
            reason,
        }
    }
}
