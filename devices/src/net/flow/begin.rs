//! How flows begin: within the budget of whoever begins them, by what is known of such flows or by a question.

use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::{Direction, Flow, Question};
use bartizan_local::observation::FlowEnd;

use super::FlowError;
use super::budget::Holder;
use super::entry::{Entry, OrOther, Progress, Stage, Standing, Waiting};
use super::key::{Key, opposite};
use super::pick_up::{self, Begun};
use super::table::Flows;
use super::tcp::{Tcp, TcpError};
use crate::net::packet::Packet;

impl Flows {
    /// A packet of no flow that is known.
    pub(super) fn begin_or_pick_up(
        &mut self,
        key: Key,
        packet: &Packet,
        way: Direction,
        now: Instant,
    ) -> Result<(), FlowError> {
        match self.begin(key, packet, way, now) {
            Err(FlowError::Tcp(TcpError::Handshake))
                if self.picks_up_until.is_some_and(|until| now < until) =>
            {
                let begun = Begun::of(packet, &key, way).ok_or(TcpError::Handshake)?;
                self.pick_up(key, begun, packet, way, now)
            }
            begun => begun,
        }
    }

    /// A flow whose first packet this is, in the place of one that is over.
    pub(super) fn begin(
        &mut self,
        key: Key,
        packet: &Packet,
        way: Direction,
        now: Instant,
    ) -> Result<(), FlowError> {
        let ip = packet.frame.ip().ok_or(FlowError::NoFlow)?;
        let progress = Progress::begin(&ip.transport)?;
        self.forget_for(key, FlowEnd::Replaced);
        let holder = Holder::of(&packet.frame, way);
        let opened = self.open(key, way, holder, progress, now);
        if opened == Err(FlowError::Denied) {
            self.note_denied(&key, way, now);
        }
        opened
    }

    /// A connection whose handshake is on no record.
    fn pick_up(
        &mut self,
        key: Key,
        begun: Begun,
        packet: &Packet,
        way: Direction,
        now: Instant,
    ) -> Result<(), FlowError> {
        let holder = Holder::of(&packet.frame, way);
        let mut directions = vec![begun.first];
        directions.extend(begun.or_other.then(|| opposite(begun.first)));
        let mut opened = Err(FlowError::Denied);
        while let (Err(FlowError::Denied), false) = (opened, directions.is_empty()) {
            let direction = directions.remove(0);
            let progress = Progress::Tcp(Tcp::PickedUp(way == direction));
            opened = self.open(key, direction, holder, progress, now);
        }
        if opened == Err(FlowError::Denied) {
            // Of one connection, whichever end may have begun it.
            self.note_denied(&key, begun.first, now);
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.pick_up(OrOther(!directions.is_empty()), packet, way);
        }
        opened
    }

    /// Whether both sides hold a connection whose handshake is on no record for the same one's. Where the sender's side could
    /// not take up the one that this side did, this side asks about the other.
    pub(super) fn agree(
        &mut self,
        key: Key,
        packet: &Packet,
        way: Direction,
        now: Instant,
    ) -> Result<(), FlowError> {
        let Some(beginner) = packet.begun_by.filter(|_| way == Direction::Ingress) else {
            return Ok(());
        };
        let entry = self.entries.get(&key).ok_or(FlowError::NoFlow)?;
        if entry.begun == pick_up::direction(beginner, way) {
            return Ok(());
        }
        if !entry.may_turn() {
            return Err(FlowError::Beginner);
        }
        // What waits was held for another's, and goes on by its sender's repeating it.
        self.turn(key, now);
        Ok(())
    }

    /// Holds a connection whose handshake is on no record for the other end's; returns the packets that may pass by that.
    pub(super) fn turn(&mut self, key: Key, now: Instant) -> Vec<(Direction, Packet)> {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        entry.turn();
        let (flow, is_asked) = (key.flow(entry.begun), entry.is_asked());
        match self.verdicts.find(&flow, now).cloned() {
            Some(ruling) => self.decide(key, ruling, now),
            None if is_asked => {
                self.ask_again(key, now);
                Vec::new()
            }
            // What was decided of the one direction is no word on the other: the packet that comes next asks.
            None => self.stand(key, Standing::Lapsed, now),
        }
    }

    /// Remembers an attempt at what is known to be denied.
    fn note_denied(&mut self, key: &Key, begun: Direction, now: Instant) {
        let flow = key.flow(begun);
        let Some(ruling) = self.verdicts.find(&flow, now) else {
            return;
        };
        if let Some(over) = self.denials.note(key, &flow, ruling, now) {
            self.records.keep(over);
        }
    }

    /// Enters a flow, if there is room and it is not known to be denied.
    fn open(
        &mut self,
        key: Key,
        begun: Direction,
        holder: Holder,
        progress: Progress,
        now: Instant,
    ) -> Result<(), FlowError> {
        let flow = key.flow(begun);
        let half_open = usize::from(progress.is_half_open());
        // Known attack: a peer whose flows are denied takes the places of those that are not.
        match self.verdicts.find(&flow, now) {
            Some(ruling) if !ruling.allowed => return Err(FlowError::Denied),
            Some(ruling) if !ruling.allows(self.is_available) => {
                return Err(FlowError::Unavailable);
            }
            _ => {}
        }
        if !self.budget.flows.fits(holder, 1) || !self.budget.half_open.fits(holder, half_open) {
            self.expire(now);
        }
        if !self.budget.flows.fits(holder, 1) {
            return Err(FlowError::TooManyFlows);
        }
        if half_open > 0 && !self.budget.half_open.fits(holder, half_open) {
            return Err(FlowError::TooManyHalfOpen);
        }
        let standing = self.standing(key, &flow, holder, Stage::NEW, now)?;
        self.budget.flows.add(holder, 1);
        self.budget.half_open.add(holder, half_open);
        let entry = Entry::new(begun, holder, standing, progress, now);
        self.entries.insert(key, entry);
        Ok(())
    }

    /// By what is known of such flows, or by a question.
    pub(super) fn standing(
        &mut self,
        key: Key,
        flow: &Flow,
        holder: Holder,
        stage: Stage,
        now: Instant,
    ) -> Result<Standing, FlowError> {
        let known = self.verdicts.find(flow, now);
        // Where its peer had a name when the flow began, that one may not begin now is no word on it.
        if let Some(ruling) = known.filter(|ruling| ruling.allowed || !stage.is_established) {
            return Ok(Standing::Judged(Arc::clone(ruling)));
        }
        if !self.is_available {
            let may = self.fallback.find(flow, self.epoch);
            return may.map(Standing::Judged).ok_or(FlowError::Unavailable);
        }
        if !self.budget.questions.take(holder, 1) {
            return Err(FlowError::TooManyQuestions);
        }
        let number = self.question(key, *flow, stage.age.as_secs());
        let held = Vec::new();
        Ok(Standing::Asked(Box::new(Waiting { number, held })))
    }

    /// Asks about a flow that waits once more, under a number of its own.
    pub(super) fn ask_again(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        let (flow, holder) = (key.flow(entry.begun), entry.holder);
        let since_s = entry.stage(now).age.as_secs();
        if let Standing::Asked(waiting) = entry.standing()
            && self.asked.take(waiting.number).is_some()
        {
            self.budget.questions.give_back(holder, 1);
        }
        self.budget.questions.add(holder, 1);
        let number = self.question(key, flow, since_s);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.renumber(number);
        }
    }

    fn question(&mut self, key: Key, flow: Flow, since_s: u64) -> u64 {
        let (number, guest) = (self.numbers.next(), self.guest);
        self.asked.add(number, key);
        self.questions.push(Question {
            number,
            guest,
            flow,
            since_s,
        });
        number
    }
}
