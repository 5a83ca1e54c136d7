//! All flows of one guest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Epoch, Flow, Guest, Question, Verdict};

use super::FlowError;
use super::asked::Asked;
use super::entry::{Entry, Seen, Standing};
use super::key::{Key, Part};
use super::record::{Record, Records};
use super::verdicts::{Ruling, Verdicts};
use crate::net::frame::{Ip, Transport};
use crate::net::packet::Packet;

/// Between two looks for flows that are over.
const SWEEP: Duration = Duration::from_secs(1);

/// What one guest may have held here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Flows.
    pub flows: usize,
    /// Questions that are not answered yet.
    pub questions: usize,
    /// Packets of one flow that wait for its verdict.
    pub held_of_flow: usize,
    /// Bytes of all packets that wait.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 16 << 10,
            questions: 256,
            held_of_flow: 4,
            held_bytes: 512 << 10,
        }
    }
}

/// Numbers for questions: none twice in the life of this process.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

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
    guest: Guest,
    limits: Limits,
    numbers: Numbers,
    entries: HashMap<Key, Entry>,
    asked: Asked,
    verdicts: Verdicts,
    records: Records,
    epoch: Epoch,
    /// Counts those who decide, one after another.
    judge: u64,
    is_available: bool,
    questions: Vec<Question>,
    swept: Instant,
}

impl Flows {
    /// None, of a guest whose flows nobody can decide on yet.
    #[must_use]
    pub fn new(guest: Guest, limits: Limits, numbers: Numbers, now: Instant) -> Self {
        Self {
            guest,
            limits,
            numbers,
            entries: HashMap::new(),
            asked: Asked::default(),
            verdicts: Verdicts::default(),
            records: Records::default(),
            epoch: Epoch::default(),
            judge: 0,
            is_available: false,
            questions: Vec::new(),
            swept: now,
        }
    }

    /// Judges an IP packet that goes that way.
    pub fn judge(
        &mut self,
        packet: Packet,
        way: Direction,
        now: Instant,
    ) -> Result<Judged, FlowError> {
        let ip = packet.frame.ip().ok_or(FlowError::NoFlow)?;
        match Part::of(ip, way) {
            Part::Of(key, begins) => {
                match self.entries.get_mut(&key) {
                    Some(entry) => match entry.see(&ip.transport, way, now)? {
                        Seen::OfIt => {}
                        // Known attack: each such packet costs a question, and those before it are not counted any more.
                        Seen::Anew if entry.is_asked() => return Err(FlowError::TooManyQuestions),
                        Seen::Anew => self.begin(key, ip, way, now)?,
                    },
                    None if begins => self.begin(key, ip, way, now)?,
                    None => return Err(FlowError::NoFlow),
                }
                self.pass(key, packet, way)
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
    pub fn settle(&mut self, verdict: &Verdict) -> Vec<(Direction, Packet)> {
        let Some(key) = self.asked.take(verdict.number) else {
            return Vec::new();
        };
        let Some(entry) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        if !matches!(entry.standing, Standing::Asked(number, _) if number == verdict.number) {
            return Vec::new();
        }
        let ruling = Ruling::of(verdict, self.judge);
        if !ruling.epoch.holds_in(self.epoch) {
            // It was decided before what holds now. Its packets wait on.
            self.ask(key);
            return Vec::new();
        }
        // One that leaves out the flow that was asked about is another's answer.
        if !verdict.width.contains(&entry.flow) {
            self.ask(key);
            return Vec::new();
        }
        self.verdicts.keep(verdict.width, ruling.clone());
        let allows = ruling.allows(self.is_available);
        let judged = std::mem::replace(&mut entry.standing, Standing::Judged(ruling));
        let Standing::Asked(_, held) = judged else {
            return Vec::new();
        };
        self.asked.held -= size_of(&held);
        if !allows {
            return Vec::new();
        }
        for (way, packet) in &held {
            entry.count(*way, packet.bytes.len());
        }
        held
    }

    /// From now on nothing is judged by what was decided before this epoch. Returns the one that is in force.
    pub fn enter(&mut self, epoch: Epoch) -> Epoch {
        self.epoch.policy = self.epoch.policy.max(epoch.policy);
        self.epoch.state = self.epoch.state.max(epoch.state);
        self.verdicts.forget(self.epoch);
        self.epoch
    }

    /// Somebody else decides from now on: each flow is asked about again, at its next packet, since what was decided before is another's word.
    pub fn begin_anew(&mut self) {
        self.judge += 1;
        self.epoch = Epoch::default();
        self.verdicts.clear();
    }

    /// Whether somebody can decide now. Who can is asked all that is not answered yet.
    pub fn set_available(&mut self, is_available: bool) {
        self.is_available = is_available;
        if !is_available {
            return;
        }
        self.questions.clear();
        for (number, key) in self.asked.all() {
            if let Some(entry) = self.entries.get(&key) {
                let flow = entry.flow;
                self.questions.push(question(self.guest, number, flow));
            }
        }
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        (!self.entries.is_empty()).then(|| self.swept + SWEEP)
    }

    /// Forgets flows that are over, if it is time to look.
    pub fn expire(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let over: Vec<Key> = (self.entries.iter())
            .filter(|(_, entry)| entry.is_over(now))
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.forget(key);
        }
    }

    /// The flows that were over last, from the oldest on.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
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

    /// A flow whose first packet this is, in the place of one that is over.
    fn begin(&mut self, key: Key, ip: &Ip, way: Direction, now: Instant) -> Result<(), FlowError> {
        Entry::may_begin(&ip.transport)?;
        self.forget(key);
        if self.entries.len() >= self.limits.flows {
            self.expire(now);
        }
        if self.entries.len() >= self.limits.flows {
            return Err(FlowError::TooManyFlows);
        }
        let icmp_type = match &ip.transport {
            Transport::Icmp(message) => Some(message.kind()),
            _ => None,
        };
        let flow = key.flow(way, icmp_type);
        // Known attack: a peer whose flows are denied takes the places of the guest's own.
        match self.verdicts.find(&flow) {
            Some(ruling) if !ruling.allowed => return Err(FlowError::Denied),
            Some(ruling) if !ruling.allows(self.is_available) => {
                return Err(FlowError::Unavailable);
            }
            _ => {}
        }
        let standing = self.standing(key, &flow)?;
        let entry = Entry::begin(flow, standing, &ip.transport, now);
        self.entries.insert(key, entry);
        Ok(())
    }

    /// By what is known of such flows, or by a question.
    fn standing(&mut self, key: Key, flow: &Flow) -> Result<Standing, FlowError> {
        if let Some(ruling) = self.verdicts.find(flow) {
            return Ok(Standing::Judged(ruling.clone()));
        }
        if !self.is_available {
            return Err(FlowError::Unavailable);
        }
        if self.asked.len() >= self.limits.questions {
            return Err(FlowError::TooManyQuestions);
        }
        let number = self.numbers.next();
        self.asked.add(number, key);
        self.questions.push(question(self.guest, number, *flow));
        Ok(Standing::Asked(number, Vec::new()))
    }

    /// Asks about a flow once more, under a number of its own.
    fn ask(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if let Standing::Asked(number, _) = &mut entry.standing {
            *number = self.numbers.next();
            self.asked.add(*number, key);
            self.questions
                .push(question(self.guest, *number, entry.flow));
        }
    }

    fn pass(&mut self, key: Key, packet: Packet, way: Direction) -> Result<Judged, FlowError> {
        let stale = self
            .entries
            .get(&key)
            .filter(|entry| entry.is_stale(self.epoch, self.judge));
        if let Some(flow) = stale.map(|entry| entry.flow) {
            let standing = self.standing(key, &flow)?;
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.standing = standing;
            }
        }
        let entry = self.entries.get_mut(&key).ok_or(FlowError::NoFlow)?;
        match &mut entry.standing {
            Standing::Judged(ruling) if ruling.allows(self.is_available) => {
                entry.count(way, packet.bytes.len());
                Ok(Judged::Pass(packet))
            }
            Standing::Judged(ruling) if ruling.allowed => Err(FlowError::Unavailable),
            Standing::Judged(_) => Err(FlowError::Denied),
            Standing::Asked(_, held) => {
                let size = packet.bytes.len();
                let fits = self.asked.held + size <= self.limits.held_bytes;
                if held.len() >= self.limits.held_of_flow || !fits {
                    return Err(FlowError::TooManyHeld);
                }
                self.asked.held += size;
                held.push((way, packet));
                Ok(Judged::Held)
            }
        }
    }

    /// What became of a packet passes where the packet did. It begins nothing, and nobody is asked about it.
    fn pass_error(&self, key: Key, packet: Packet) -> Result<Judged, FlowError> {
        let entry = self.entries.get(&key).ok_or(FlowError::NoFlow)?;
        match &entry.standing {
            Standing::Judged(ruling)
                if !entry.is_stale(self.epoch, self.judge) && ruling.allows(self.is_available) =>
            {
                Ok(Judged::Pass(packet))
            }
            _ => Err(FlowError::Denied),
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(&key) else {
            return;
        };
        if let Standing::Asked(number, held) = &entry.standing {
            self.asked.take(*number);
            self.asked.held -= size_of(held);
        }
        self.records.keep(entry.record());
    }
}

const fn question(guest: Guest, number: u64, flow: Flow) -> Question {
    Question {
        number,
        guest,
        flow,
    }
}

fn size_of(held: &[(Direction, Packet)]) -> usize {
    held.iter().map(|(_, packet)| packet.bytes.len()).sum()
}

#[cfg(test)]
mod tests;
