//! What is known of one flow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Epoch};
use bartizan_local::observation::{Amount, FlowEnd};

use super::FlowError;
use super::budget::Holder;
use super::key::{Key, opposite};
use super::outside::{Outside, Segment};
use super::record::{Decided, Record};
use super::tcp::{self, Step, Tcp, TcpError};
use super::verdicts::Ruling;
use crate::net::frame::{Icmp, Ip, Transport};
use crate::net::packet::Packet;

/// How long a flow waits for its verdict, and how long one that was denied is remembered, whatever else comes of it.
const WAITING: Duration = Duration::from_secs(10);
/// Most questions of one echo flow that may be answered late.
const MOST_ECHOES: u16 = 256;

/// A flow. What each of its packets needs lies together, before all else; but for what was decided, which flows share.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Entry {
    standing: Standing,
    last: Instant,
    /// Who began it.
    pub(super) begun: Direction,
    progress: Progress,
    /// Where its handshake is on no record: whether the other direction is to be tried, too.
    pub(super) picked_up: Option<OrOther>,
    /// Of a TCP connection whose other end is outside of this host: what the guest took of what comes from there.
    outside: Outside,
    /// What passed of the guest's packets, and of those for it.
    passed: [Amount; 2],
    /// Since when it has stood so. From here on few packets need it.
    pub(super) since: Instant,
    began: Instant,
    /// Packets that did not pass, by what was decided.
    refused: u64,
    /// Who has it held here.
    pub(super) holder: Holder,
}

/// Whether a connection may have begun the other way as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OrOther(pub(super) bool);

/// How far a flow is that has to be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stage {
    /// How long it has been.
    pub(super) age: Duration,
    /// Whether both ends have taken part in it.
    pub(super) is_established: bool,
}

impl Stage {
    /// It begins.
    pub(super) const NEW: Self = Self {
        age: Duration::ZERO,
        is_established: false,
    };
}

/// What may become of a flow's packets.
#[derive(Debug)]
pub(super) enum Standing {
    /// They wait for a verdict.
    Asked(Box<Waiting>),
    /// It was decided.
    Judged(Arc<Ruling>),
    /// The question was not answered in time: the next packet asks again.
    Lapsed,
}

/// What waits for a verdict.
#[derive(Debug)]
pub(super) struct Waiting {
    /// On the question of that number.
    pub(super) number: u64,
    /// In order.
    pub(super) held: Vec<(Direction, Packet)>,
}

/// How far a flow is, by its protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    Tcp(Tcp),
    /// How many echoes may still be answered.
    Echo(u16),
    /// Whether there was an answer.
    Other(bool),
}

/// How far a flow is, with what that was found by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    progress: Progress,
    outside: Outside,
}

/// What a packet is to a flow that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Of it.
    OfIt,
    /// The first one of another in its place.
    Anew,
}

impl Progress {
    /// Of a flow that this packet may begin.
    pub(super) fn begin(transport: &Transport) -> Result<Self, TcpError> {
        match transport {
            Transport::Tcp { flags, .. } => {
                tcp::check(*flags)?;
                if tcp::begins(*flags) {
                    Ok(Self::Tcp(Tcp::Asked))
                } else {
                    Err(TcpError::Handshake)
                }
            }
            Transport::Icmp(Icmp::EchoRequest { .. }) => Ok(Self::Echo(1)),
            _ => Ok(Self::Other(false)),
        }
    }

    /// Whether it is a TCP connection whose handshake is not done.
    pub(super) const fn is_half_open(self) -> bool {
        matches!(self, Self::Tcp(tcp) if tcp.is_half_open())
    }
}

impl Entry {
    /// A flow that begins, whose verdict is known or asked for.
    pub(super) fn new(
        begun: Direction,
        holder: Holder,
        standing: Standing,
        progress: Progress,
        now: Instant,
    ) -> Self {
        Self {
            standing,
            last: now,
            begun,
            progress,
            picked_up: None,
            outside: Outside::default(),
            passed: [Amount::default(); 2],
            since: now,
            began: now,
            refused: 0,
            holder,
        }
    }

    /// Takes a packet that goes that way, of a flow whose other end is outside of this host or not.
    pub(super) fn see(
        &mut self,
        ip: &Ip,
        is_outside: bool,
        way: Direction,
        now: Instant,
    ) -> Result<Seen, FlowError> {
        let by_beginner = way == self.begun;
        let is_denied = self.is_denied();
        match (&mut self.progress, &ip.transport) {
            (Progress::Tcp(state), Transport::Tcp { flags, .. }) => {
                tcp::check(*flags)?;
                let ended = state.has_ended();
                let step = if is_outside {
                    let segment = Segment::of(ip).ok_or(TcpError::Flags)?;
                    self.outside.step(*state, &segment, way, by_beginner)?
                } else {
                    Some(state.step(by_beginner, *flags)?)
                };
                match step {
                    Some(Step::On(next)) => *state = next,
                    Some(Step::Anew) => return Ok(Seen::Anew),
                    // Nor does it keep the connection.
                    None => return Ok(Seen::OfIt),
                }
                if ended {
                    // Known attack: a connection that is closed is used on, and kept by that.
                    return Ok(Seen::OfIt);
                }
            }
            (Progress::Echo(open), Transport::Icmp(Icmp::EchoReply { .. })) => {
                // Known attack: one question, and data in answers to it without end.
                *open = open.checked_sub(1).ok_or(FlowError::Unasked)?;
            }
            (Progress::Echo(open), _) => *open = open.saturating_add(1).min(MOST_ECHOES),
            // What the one end may not begin the other one may: its packet is no answer to what did not pass.
            (Progress::Other(_), _) if is_denied && !by_beginner => return Ok(Seen::Anew),
            (Progress::Other(answered), _) => *answered |= !by_beginner,
            (Progress::Tcp(_), _) => return Err(TcpError::Flags.into()),
        }
        self.last = now;
        Ok(Seen::OfIt)
    }

    pub(super) const fn course(&self) -> Course {
        Course {
            progress: self.progress,
            outside: self.outside,
        }
    }

    /// It is no further than before a packet. But what is half-open no more was counted as that.
    pub(super) const fn go_back(&mut self, before: Course) {
        if before.progress.is_half_open() == self.progress.is_half_open() {
            (self.progress, self.outside) = (before.progress, before.outside);
        }
    }

    pub(super) fn count(&mut self, way: Direction, size: usize) {
        let [egress, ingress] = &mut self.passed;
        let passed = match way {
            Direction::Egress => egress,
            Direction::Ingress => ingress,
        };
        passed.packets += 1;
        passed.bytes = passed.bytes.saturating_add(size as u64);
    }

    pub(super) const fn refuse(&mut self, packets: u64) {
        self.refused = self.refused.saturating_add(packets);
    }

    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn stage(&self, now: Instant) -> Stage {
        Stage {
            age: now.saturating_duration_since(self.began),
            is_established: self.is_established(),
        }
    }

    pub(super) const fn is_judged(&self) -> bool {
        matches!(self.standing, Standing::Judged(_))
    }

    pub(super) const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The packets that wait for a verdict, where one is waited for.
    pub(super) fn held(&mut self) -> Option<&mut Vec<(Direction, Packet)>> {
        match &mut self.standing {
            Standing::Asked(waiting) => Some(&mut waiting.held),
            _ => None,
        }
    }

    /// From now on it stands so; returns how it stood.
    pub(super) const fn stand(&mut self, standing: Standing, now: Instant) -> Standing {
        self.since = now;
        std::mem::replace(&mut self.standing, standing)
    }

    /// It is asked about under another number, and waits on as long as it would have.
    pub(super) fn renumber(&mut self, other: u64) {
        if let Standing::Asked(waiting) = &mut self.standing {
            waiting.number = other;
        }
    }

    /// Its handshake is on no record: it is known by this packet.
    pub(super) fn pick_up(&mut self, or_other: OrOther, packet: &Packet, way: Direction) {
        self.picked_up = Some(or_other);
        let segment = packet.frame.ip().and_then(Segment::of);
        if let Some(segment) = segment.filter(|_| way == Direction::Egress) {
            self.outside.hear(&segment);
        }
    }

    /// A connection whose handshake is on no record is taken for one that the other end began.
    pub(super) const fn turn(&mut self) {
        self.begun = opposite(self.begun);
        self.picked_up = Some(OrOther(false));
        if let Progress::Tcp(Tcp::PickedUp(by_beginner)) = &mut self.progress {
            *by_beginner = !*by_beginner;
        }
    }

    /// Whether it could still turn out to have begun the other way.
    pub(super) const fn may_turn(&self) -> bool {
        matches!(
            (self.picked_up, self.progress),
            (Some(OrOther(true)), Progress::Tcp(Tcp::PickedUp(_)))
        )
    }

    /// Whether its verdict is waited for.
    pub(super) const fn is_asked(&self) -> bool {
        matches!(self.standing, Standing::Asked(..))
    }

    fn is_denied(&self) -> bool {
        matches!(&self.standing, Standing::Judged(ruling) if !ruling.allowed)
    }

    /// Whether it is a TCP connection whose handshake is not done.
    pub(super) const fn is_half_open(&self) -> bool {
        self.progress.is_half_open()
    }

    /// Whether it has to be asked about again: it was decided before what holds now, or by another judge, or not in time.
    pub(super) fn is_stale(&self, present: Epoch, judge: u64) -> bool {
        match &self.standing {
            Standing::Judged(ruling) => !ruling.epoch.holds_in(present) || judge != ruling.judge,
            Standing::Lapsed => true,
            Standing::Asked(..) => false,
        }
    }

    /// Whether both ends have taken part in it, which the other end of a question that is not answered cannot know.
    const fn is_established(&self) -> bool {
        match self.progress {
            Progress::Tcp(tcp) => !tcp.is_half_open() && !tcp.has_ended(),
            Progress::Other(answered) => answered,
            Progress::Echo(_) => false,
        }
    }

    /// Whether its question waits in vain, and it is worth to be asked about again.
    pub(super) fn has_lapsed(&self, now: Instant) -> bool {
        self.is_asked() && self.is_established() && self.waited(now) >= WAITING
    }

    /// Known attack: whoever sends on, in vain, keeps a flow waiting, or denied, for ever. So this counts from when it began to
    /// stand so, and only what may pass keeps a flow by its packets.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        if self.is_denied() || (self.is_asked() && !self.is_established()) {
            return self.waited(now) >= WAITING;
        }
        let patience = match self.progress {
            Progress::Tcp(tcp) => tcp.patience(),
            // RFC 4787 REQ-5 wants two minutes and more of UDP.
            Progress::Other(true) => Duration::from_secs(180),
            Progress::Other(false) | Progress::Echo(_) => Duration::from_secs(30),
        };
        now.saturating_duration_since(self.last) >= patience
    }

    fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Why it is over, where it is forgotten for that.
    pub(super) fn end(&self) -> FlowEnd {
        match (&self.standing, self.progress) {
            (Standing::Judged(ruling), _) if !ruling.allowed => FlowEnd::Denied,
            (Standing::Asked(..), _) => FlowEnd::Undecided,
            (_, Progress::Tcp(tcp)) if tcp.has_ended() => FlowEnd::Closed,
            _ => FlowEnd::Idle,
        }
    }

    /// What is to be told of it.
    pub(super) fn record(&self, key: &Key, end: Option<FlowEnd>) -> Record {
        let decided = match &self.standing {
            Standing::Judged(ruling) => Some(Decided::of(ruling)),
            Standing::Asked(..) | Standing::Lapsed => None,
        };
        let [sent, received] = self.passed;
        Record {
            flow: key.flow(self.begun),
            local: key.local(),
            begun_port: key.begun_port(self.begun),
            began: self.began,
            last: self.last,
            sent,
            received,
            refused: self.refused,
            decided,
            end,
        }
    }
}
