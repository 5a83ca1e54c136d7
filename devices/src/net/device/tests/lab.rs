//! Guests with network devices in one thread, and who decides on their flows.

mod guest;
mod outside;

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bartizan_local::flow::{
    Direction, Epoch, FromDevices, Guest, GuestEpoch, Peers, Question, Resolved, ToDevices,
    Verdict, Width,
};

pub(super) use outside::{Outside, neighbour, settings};

pub(super) use guest::{BUFFERS, INDIRECT, NEXT, NetGuest, RAM, RINGS, SIZE, SPARE, WRITE, descriptor};

use crate::decisions::Decisions;
use crate::net::device::Core;
use crate::net::fabric::{Fabric, Station};
use crate::net::flow::{Flows, Limits};
use crate::net::header::HEADER_LEN;
use crate::net::refusals::Reason;
use crate::net::sample::interface;

type Policy = Box<dyn FnMut(&Question) -> Option<bool>>;

/// All on one segment.
pub(super) struct Lab {
    pub(super) guests: Vec<NetGuest>,
    /// What is outside, where there is an uplink.
    pub(super) outside: Option<Outside>,
    pub(super) now: Instant,
    /// What is decided on each question; none where it is not answered.
    pub(super) policy: Policy,
    /// Whether a verdict is of its flow alone, rather than of all with its port.
    pub(super) is_exact: bool,
    pub(super) begin_within_s: Option<u64>,
    pub(super) epoch: Epoch,
    pub(super) asked: Vec<Question>,
    pub(super) in_force: Vec<GuestEpoch>,
    /// The DNS answers that were told, which nobody notes by himself.
    pub(super) resolved: Vec<Resolved>,
    pub(super) fabric: Arc<Fabric>,
    decisions: Arc<Decisions>,
    link: u64,
    _ends: (Arc<UnixStream>, UnixStream),
    log: Log,
}

impl Lab {
    /// Two guests, all of whose flows are allowed.
    pub(super) fn new() -> Self {
        Self::with(&[false, false], Limits::default())
    }

    /// Two guests, of which the first has so many pairs of rings.
    pub(super) fn with_queues(pairs: usize) -> Self {
        let fabric = Arc::new(Fabric::default());
        Self::made(&fabric, &[false, false], Limits::default(), &[pairs, 1])
    }

    /// As many guests, of each whether it ran before devices did.
    pub(super) fn with(ran: &[bool], limits: Limits) -> Self {
        Self::on(&Arc::new(Fabric::default()), ran, limits)
    }

    pub(super) fn on(fabric: &Arc<Fabric>, ran: &[bool], limits: Limits) -> Self {
        Self::made(fabric, ran, limits, &vec![1; ran.len()])
    }

    fn made(fabric: &Arc<Fabric>, ran: &[bool], limits: Limits, pairs: &[usize]) -> Self {
        let decisions = Decisions::new();
        let now = Instant::now();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ours = Arc::new(ours);
        let link = decisions.replace(&ours);
        let guests = (1..)
            .zip(ran.iter().zip(pairs))
            .map(|(number, (ran, pairs))| {
                let plug = fabric.plug(interface(number)).unwrap();
                let guest = plug.station().interface.guest;
                let mut flows = Flows::new(guest, limits, fabric.numbers.clone(), now);
                flows.pick_up_until(ran.then(|| now + Duration::from_secs(60)));
                NetGuest::new(Core::new(plug, flows, Arc::clone(&decisions)), *pairs)
            });
        Self {
            guests: guests.collect(),
            outside: None,
            now,
            policy: Box::new(|_| Some(true)),
            is_exact: false,
            begin_within_s: None,
            epoch: Epoch {
                policy: 1,
                state: 0,
            },
            asked: Vec::new(),
            in_force: Vec::new(),
            resolved: Vec::new(),
            fabric: Arc::clone(fabric),
            decisions,
            link,
            _ends: (ours, theirs),
            log: Log::default(),
        }
    }

    /// Sends a frame of the guest of that number, and has everything happen that comes of it.
    pub(super) fn send(&mut self, number: u8, frame: &[u8]) {
        self.send_all(number, [frame.to_vec()]);
    }

    pub(super) fn send_all(&mut self, number: u8, frames: impl IntoIterator<Item = Vec<u8>>) {
        let mut frames = frames.into_iter();
        loop {
            let batch: Vec<_> = frames.by_ref().take(usize::from(SIZE / 2)).collect();
            if batch.is_empty() {
                break;
            }
            let guest = self.guest(number);
            for frame in batch {
                guest.offer_frame(&[0; HEADER_LEN], &frame);
            }
            self.run();
        }
    }

    /// Until nothing moves any more.
    pub(super) fn run(&mut self) {
        let log = self.log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut idle = 0;
            while idle < 3 {
                idle = if self.turn() { 0 } else { idle + 1 };
            }
        });
    }

    /// Returns whether something moved.
    fn turn(&mut self) -> bool {
        let mut moves = false;
        for guest in &mut self.guests {
            moves |= guest.core.turn(&mut guest.backend, self.now);
        }
        if let Some(outside) = &mut self.outside {
            moves |= outside.turn(self.now);
        }
        let said = self.decisions.take_said();
        moves |= !said.is_empty();
        for message in said {
            match message {
                FromDevices::Question(question) => self.answer(question),
                FromDevices::InForce(epoch) => self.in_force.push(epoch),
                FromDevices::Resolved(resolved) => self.resolved.push(resolved),
                FromDevices::Isolated(vm) => panic!("{vm:?} was isolated before"),
            }
        }
        moves
    }

    pub(super) fn answer(&mut self, question: Question) {
        let flow = question.flow;
        let decided = (self.policy)(&question);
        if let Some(allowed) = decided {
            let exactly = Width {
                direction: Some(flow.direction),
                protocol: Some(flow.protocol),
                peers: Some(match flow.peer {
                    IpAddr::V4(peer) => Peers::V4(peer, peer),
                    IpAddr::V6(peer) => Peers::V6(peer, peer),
                }),
                ports: flow.port.map(|port| (port, port)),
                icmp_types: flow.icmp_type.map(|kind| (kind, kind)),
                outside: Some(flow.outside),
            };
            let verdict = Verdict {
                number: question.number,
                guest: question.guest,
                epoch: self.epoch,
                allowed,
                allowed_unavailable: false,
                reason: "test/rule".into(),
                width: if self.is_exact {
                    exactly
                } else {
                    Width {
                        direction: Some(flow.direction),
                        outside: Some(flow.outside),
                        ..Width::default()
                    }
                },
                begin_within_s: self.begin_within_s,
            };
            self.decisions.hear(self.link, ToDevices::Verdict(verdict));
        }
        self.asked.push(question);
    }

    /// Another policy for a guest, of which it hears at its next turn.
    pub(super) fn enter(&mut self, number: u8) -> GuestEpoch {
        let epoch = GuestEpoch {
            guest: guest(number),
            epoch: self.epoch,
        };
        self.hear(ToDevices::Epoch(epoch));
        epoch
    }

    /// Devices are told so, and look at it at their next turn.
    pub(super) fn hear(&mut self, said: ToDevices) {
        self.decisions.hear(self.link, said);
    }

    /// A guest's device, for others.
    pub(super) fn station(&self, guest: Guest) -> Arc<Station> {
        self.decisions.station(guest).unwrap()
    }

    /// The frames for a guest since this was asked last.
    pub(super) fn received(&mut self, number: u8) -> Vec<Vec<u8>> {
        self.guest(number).received()
    }

    /// Has a guest take all that there is for it; returns that.
    pub(super) fn drain(&mut self, number: u8) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let received = self.received(number);
            if received.is_empty() {
                return all;
            }
            all.extend(received);
            self.run();
        }
    }

    pub(super) fn guest(&mut self, number: u8) -> &mut NetGuest {
        &mut self.guests[usize::from(number) - 1]
    }

    /// How many of a guest's packets did not pass for that reason.
    pub(super) fn refused(&self, number: u8, way: Direction, reason: Reason) -> u64 {
        let guest = &self.guests[usize::from(number) - 1];
        guest.core.port.refusals().of(way, reason)
    }

    /// An attack of the first guest's: it does not reach the second one, nobody is asked, it is counted and logged.
    #[track_caller]
    pub(super) fn blocks(&mut self, frame: &[u8], reason: Reason) {
        self.blocks_all(&[frame.to_vec()], reason);
    }

    #[track_caller]
    pub(super) fn blocks_all(&mut self, frames: &[Vec<u8>], reason: Reason) {
        self.blocks_what(frames.len() as u64, reason, |lab| {
            lab.send_all(1, frames.iter().cloned());
        });
    }

    #[track_caller]
    pub(super) fn blocks_what(&mut self, count: u64, reason: Reason, what: impl FnOnce(&mut Self)) {
        let before = self.refused(1, Direction::Egress, reason);
        let asked = self.asked.len();
        what(self);
        let refusals = self.guests[0].core.port.refusals();
        assert_eq!(
            refusals.of(Direction::Egress, reason) - before,
            count,
            "{reason}: {refusals:?}"
        );
        assert_eq!(self.asked.len(), asked);
        assert_eq!(self.received(2), Vec::<Vec<u8>>::new());
        assert!(self.logged(reason), "{reason}");
    }

    pub(super) fn logged(&self, reason: Reason) -> bool {
        let log = self.log.0.lock().unwrap();
        String::from_utf8_lossy(&log).contains(&format!("reason={reason} "))
    }

    /// A frame of one guest arrives at the other as it was.
    #[track_caller]
    pub(super) fn passes(&mut self, from: u8, to: u8, frame: &[u8]) {
        self.send(from, frame);
        let received = self.received(to);
        let is_it = received == [frame.to_vec()];
        assert!(
            is_it,
            "{} frames: {:02x?}",
            received.len(),
            received.first()
        );
    }
}

/// The guest of that number.
pub(super) fn guest(number: u8) -> Guest {
    interface(number).guest
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
