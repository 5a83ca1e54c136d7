//! All flows of one guest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Epoch, Guest, Question, Verdict};
use bartizan_local::observation::FlowEnd;

use super::FlowError;
use super::asked::{Asked, Numbers};
use super::budget::{Budget, Holder, Limits};
use super::denials::Denials;
use super::entry::{Course, Entry, Seen, Standing, Waiting};
use super::fallback::Fallen;
use super::key::{Key, Part};
use super::pick_up;
use super::record::Records;
use super::slots::Entries;
use super::verdicts::{Ruling, Verdicts};
use crate::net::packet::Packet;

/// Between two looks for flows that are over.
const SWEEP: Duration = Duration::from_secs(1);

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    /// It passes.
    Pass(Packet),
    /// It waits for a verdict.
    Held,
}

/// One guest's flows.
#[derive(Debug)]
pub struct Flows {
    pub(super) guest: Guest,
    pub(super) budget: Budget,
    pub(super) numbers: Numbers,
    pub(super) entries: Entries,
    pub(super) asked: Asked,
    pub(super) verdicts: Verdicts,
    pub(super) fallback: Fallen,
    pub(super) denials: Denials,
    pub(super) records: Records,
    pub(super) epoch: Epoch,
    /// Counts those who decide, one after another.
    pub(super) judge: u64,
    pub(super) is_available: bool,
    pub(super) questions: Vec<Question>,
    swept: Instant,
    /// Until when connections are taken up whose handshake is on no record.
    pub(super) picks_up_until: Option<Instant>,
}

impl Flows {
    /// None, of a guest whose flows nobody can decide on yet.
    #[must_use]
    pub fn new(guest: Guest, limits: Limits, numbers: Numbers, now: Instant) -> Self {
        Self {
            guest,
            budget: Budget::new(&limits),
            numbers,
            entries: Entries::default(),
            asked: Asked::default(),
            verdicts: Verdicts::default(),
            fallback: Fallen::default(),
            denials: Denials::default(),
            records: Records::default(),
            epoch: Epoch::default(),
            judge: 0,
            is_available: false,
            questions: Vec::new(),
            swept: now,
            picks_up_until: None,
        }
    }

    /// Takes up TCP connections that began before this process, for so long. Without this none ever is.
    pub const fn pick_up_until(&mut self, until: Option<Instant>) {
        self.picks_up_until = until;
    }

    /// Judges an IP packet that goes that way.
    pub fn judge(
        &mut self,
        mut packet: Packet,
        way: Direction,
        now: Instant,
    ) -> Result<Judged, FlowError> {
        if way == Direction::Egress {
            // Nobody but this side says so.
            packet.begun_by = None;
        }
        match &Part::of(&packet.frame, way) {
            Part::Of(key, begins) => {
                let known = self.see(key, &packet, way, now)?;
                match known {
                    Known::Not if !begins => return Err(FlowError::NoFlow),
                    Known::Not => self.begin_or_pick_up(*key, &packet, way, now)?,
                    Known::Begins | Known::Was(_) => {}
                }
                let passed = self.pass(key, packet, way, now);
                // What does not pass says nothing to the other end: it is no further for it.
                if let (Err(_), Known::Was(course)) = (&passed, known)
                    && let Some(entry) = self.entries.get_mut(key)
                {
                    entry.go_back(course);
                }
                passed
            }
            Part::Error(key) => self.pass_error(key, packet),
            Part::None => Err(FlowError::NoFlow),
        }
    }

    /// What is to be asked since this was called last.
    pub fn take_questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Takes a verdict; returns the packets that it lets pass, in order, each with its way.
    pub fn settle(&mut self, verdict: &Verdict, now: Instant) -> Vec<(Direction, Packet)> {
        let Some(key) = self.asked.take(verdict.number) else {
            return Vec::new();
        };
        let Some(entry) = self.entries.get(&key) else {
            return Vec::new();
        };
        if !matches!(entry.standing(), Standing::Asked(waiting) if waiting.number == verdict.number)
        {
            return Vec::new();
        }
        self.budget.questions.give_back(entry.holder, 1);
        let (ruling, asked) = (
            Arc::new(Ruling::of(verdict, self.judge, now)),
            key.flow(entry.begun),
        );
        // It was decided before what holds now; or leaves out the flow that was asked about, and is another's answer. Its
        // packets wait on.
        if !ruling.epoch.holds_in(self.epoch) || !verdict.width.contains(&asked) {
            self.ask_again(key, now);
            return Vec::new();
        }
        if verdict.begin_within_s != Some(0) {
            self.verdicts
                .keep(&asked, verdict.width, Arc::clone(&ruling));
        }
        let is_denied_pick_up = !ruling.allowed && entry.picked_up.is_some();
        if is_denied_pick_up && entry.may_turn() {
            return self.turn(key, now);
        }
        let released = self.decide(key, ruling, now);
        if is_denied_pick_up {
            // So that the other direction is asked about when a segment comes the other way.
            self.forget(key);
        }
        released
    }

    /// Whether somebody can decide now.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.is_available
    }

    /// Numbers for what is asked and told.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.numbers.clone()
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let has_any = !self.entries.is_empty() || !self.denials.is_empty();
        has_any.then(|| self.swept + SWEEP)
    }

    /// Forgets flows that are over, if it is time to look.
    pub fn expire(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let (mut over, mut lapsed) = (Vec::new(), Vec::new());
        for (key, entry) in self.entries.iter() {
            if entry.is_over(now) {
                over.push(*key);
            } else if entry.has_lapsed(now) {
                lapsed.push(*key);
            }
        }
        for key in over {
            self.forget(key);
        }
        for key in lapsed {
            // Who decides is slow: it is asked anew rather than an established connection lost.
            self.stand(key, Standing::Lapsed, now);
        }
        for attempts in self.denials.expire(now) {
            self.records.keep(attempts);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is held here.
    #[cfg(test)]
    pub(in crate::net) fn held(&self) -> Limits {
        let Budget {
            flows,
            half_open,
            questions,
            held_bytes,
            held_of_flow,
        } = &self.budget;
        Limits {
            flows: flows.used(),
            half_open: half_open.used(),
            questions: questions.used(),
            held_of_flow: *held_of_flow,
            held_bytes: held_bytes.used(),
        }
    }

    /// How many verdicts are kept.
    #[cfg(test)]
    pub(in crate::net) fn kept_verdicts(&self) -> usize {
        self.verdicts.len()
    }

    /// A packet of a flow that is known, or the first of another in its place.
    fn see(
        &mut self,
        key: &Key,
        packet: &Packet,
        way: Direction,
        now: Instant,
    ) -> Result<Known, FlowError> {
        if packet.begun_by.is_some() && self.entries.contains_key(key) {
            self.agree(*key, packet, way, now)?;
        }
        let ip = packet.frame.ip().ok_or(FlowError::NoFlow)?;
        let Some(entry) = self.entries.get_mut(key) else {
            return Ok(Known::Not);
        };
        let (was_half_open, course) = (entry.is_half_open(), entry.course());
        let seen = entry.see(ip, key.is_outside(), way, now)?;
        if was_half_open && !entry.is_half_open() {
            self.budget.half_open.give_back(entry.holder, 1);
        }
        match seen {
            Seen::OfIt => Ok(Known::Was(course)),
            // Known attack: each such packet costs a question, and those before it are not counted any more.
            Seen::Anew if entry.is_asked() => Err(FlowError::TooManyQuestions),
            Seen::Anew => self.begin(*key, packet, way, now).map(|()| Known::Begins),
        }
    }

    fn pass(
        &mut self,
        key: &Key,
        mut packet: Packet,
        way: Direction,
        now: Instant,
    ) -> Result<Judged, FlowError> {
        let (epoch, judge) = (self.epoch, self.judge);
        let mut entry = self.entries.get_mut(key).ok_or(FlowError::NoFlow)?;
        if entry.is_stale(epoch, judge) {
            let (flow, holder) = (key.flow(entry.begun), entry.holder);
            let stage = entry.stage(now);
            let standing = self.standing(*key, &flow, holder, stage, now)?;
            self.stand(*key, standing, now);
            entry = self.entries.get_mut(key).ok_or(FlowError::NoFlow)?;
        }
        if let Standing::Judged(ruling) = entry.standing() {
            let (allowed, allows) = (ruling.allowed, ruling.allows(self.is_available));
            if !allows {
                entry.refuse(1);
                return Err(if allowed {
                    FlowError::Unavailable
                } else {
                    FlowError::Denied
                });
            }
            entry.count(way, packet.bytes.len());
            mark(entry, way, &mut packet);
            return Ok(Judged::Pass(packet));
        }
        let (size, sender) = (packet.bytes.len(), Holder::of(&packet.frame, way));
        let most = self.budget.held_of_flow;
        let held = entry.held().ok_or(FlowError::NoFlow)?;
        if held.len() >= most || !self.budget.held_bytes.take(sender, size) {
            return Err(FlowError::TooManyHeld);
        }
        // It was counted by its length, and may have been read into another's memory.
        packet.bytes.shrink_to_fit();
        held.push((way, packet));
        Ok(Judged::Held)
    }

    /// What became of a packet passes where the packet did. It begins nothing, and nobody is asked about it.
    fn pass_error(&self, key: &Key, packet: Packet) -> Result<Judged, FlowError> {
        let entry = self.entries.get(key).ok_or(FlowError::NoFlow)?;
        match entry.standing() {
            Standing::Judged(ruling)
                if !entry.is_stale(self.epoch, self.judge) && ruling.allows(self.is_available) =>
            {
                Ok(Judged::Pass(packet))
            }
            _ => Err(FlowError::Denied),
        }
    }

    /// It was decided; returns the packets that it lets pass.
    pub(super) fn decide(
        &mut self,
        key: Key,
        ruling: Arc<Ruling>,
        now: Instant,
    ) -> Vec<(Direction, Packet)> {
        let allows = ruling.allows(self.is_available);
        let mut held = self.stand(key, Standing::Judged(ruling), now);
        let Some(entry) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        if !allows {
            entry.refuse(held.len() as u64);
            return Vec::new();
        }
        for (way, packet) in &mut held {
            entry.count(*way, packet.bytes.len());
            mark(entry, *way, packet);
        }
        held
    }

    /// A flow stands so from now on. Returns the packets that waited, which are held no more.
    pub(super) fn stand(
        &mut self,
        key: Key,
        standing: Standing,
        now: Instant,
    ) -> Vec<(Direction, Packet)> {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        let (former, holder) = (entry.stand(standing, now), entry.holder);
        self.let_go(former, holder)
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.forget_for(key, FlowEnd::Idle);
    }

    /// Where nothing else has ended it, this does.
    pub(super) fn forget_for(&mut self, key: Key, otherwise: FlowEnd) {
        let Some(mut entry) = self.entries.remove(&key) else {
            return;
        };
        let end = match entry.end() {
            FlowEnd::Idle => otherwise,
            end => end,
        };
        self.records.keep(entry.record(&key, Some(end)));
        self.budget.flows.give_back(entry.holder, 1);
        if entry.is_half_open() {
            self.budget.half_open.give_back(entry.holder, 1);
        }
        let former = entry.stand(Standing::Lapsed, entry.began());
        self.let_go(former, entry.holder);
    }

    fn let_go(&mut self, former: Standing, holder: Holder) -> Vec<(Direction, Packet)> {
        let Standing::Asked(waiting) = former else {
            return Vec::new();
        };
        let Waiting { number, held } = *waiting;
        if self.asked.take(number).is_some() {
            self.budget.questions.give_back(holder, 1);
        }
        for (way, packet) in &held {
            let sender = Holder::of(&packet.frame, *way);
            self.budget.held_bytes.give_back(sender, packet.bytes.len());
        }
        held
    }
}

/// Whether a packet's flow is known.
#[derive(Clone, Copy)]
enum Known {
    /// It is not.
    Not,
    /// It is by this packet.
    Begins,
    /// It was so far before it.
    Was(Course),
}

/// What the receiver's side is to hold a connection for, whose handshake it did not see either.
fn mark(entry: &Entry, way: Direction, packet: &mut Packet) {
    if way == Direction::Egress && entry.picked_up.is_some() {
        packet.begun_by = Some(pick_up::beginner(entry.begun));
    }
}

#[cfg(test)]
mod tests;
