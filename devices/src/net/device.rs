//! One guest's network device: a thread with one epoll over QEMU's messages, kicks and its inbox.

mod giving;
mod taking;

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, GuestEpoch};
use rustix::event::{Timespec, epoll};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;

use super::dns::Changed;
use super::fabric::{Plug, Station, Stations};
use super::flow::{Flows, Limits, Numbers};
use super::frame::Mac;
use super::header::feature;
use super::inbox::ToldBy;
use super::observation::Observer;
use super::packet::Packet;
use super::port::{Directory, Port, Refusal};
use super::spares::Spares;
use super::steering::Steering;
use super::uplink::GATE;
use crate::decisions::Decisions;
use crate::link::Link;
use crate::vhost_user::{Backend, Front, FrontError, MAX_PAIRS, Offer, RingError, Rings, View};

/// What epoll reports: which of the watched descriptors.
const QEMU: u64 = 0;
const INBOX: u64 = 1;
const KICKS: u64 = 2;

/// Packets each way before QEMU's messages are looked at again, of all of a guest's queues together.
const BATCH: usize = 128;

/// What a device is made of.
pub struct Attachment {
    /// Its place on its segment.
    pub plug: Plug,
    /// What it is attached by.
    pub link: Arc<Link>,
    /// For its questions.
    pub numbers: Numbers,
    /// Who decides on its flows.
    pub decisions: Arc<Decisions>,
    /// What its guest may have held.
    pub limits: Limits,
    /// Until when TCP connections are taken up that began before this process did, where its guest ran already then.
    pub picks_up_until: Option<Instant>,
    /// The log of what is written of the guest's RAM, if the supervisor keeps one.
    pub log: Option<OwnedFd>,
}

/// Why a device ended without having been detached.
#[derive(Debug, thiserror::Error)]
pub enum NetDeviceError {
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] std::io::Error),
    /// QEMU's end is of no further use.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// A ring could not be made.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// Serves until the supervisor closes its link, or the device is dismissed.
pub fn serve(attachment: Attachment) -> Result<(), NetDeviceError> {
    Device::new(attachment)?.run()
}

struct Device {
    epoll: Arc<OwnedFd>,
    qemu: Front,
    core: Core,
    // Last, so that nothing is held any more when this is let go of.
    link: Arc<Link>,
}

/// All but what QEMU says: what a device's thread does at each of its turns. It stands by itself, so that it can be measured and tested in one
/// thread with its guest.
pub struct Core {
    port: Port,
    plug: Plug,
    decisions: Arc<Decisions>,
    /// For the guest, not judged yet.
    arrived: VecDeque<Packet>,
    /// For the guest, to be delivered once it has room.
    ready: VecDeque<Packet>,
    /// Of these, in a turn, those that others overtake.
    stalled: VecDeque<Packet>,
    /// Queues without room for the next packet that is theirs.
    full: [bool; MAX_PAIRS],
    /// Whether all that is ready waits for such queues while others have room.
    goes_on: bool,
    steering: Steering,
    /// Which queue sends next.
    sends_next: usize,
    /// What the guest sent in this turn.
    onward: Onward,
    observer: Observer,
    /// For what it sends next.
    spares: Spares,
}

/// Who is on the segment in one turn. Packets come in trains: what was asked last is known at once.
struct Neighbours {
    stations: Arc<Stations>,
    last: Cell<Option<(IpAddr, Option<Mac>)>>,
}

impl Neighbours {
    fn of(plug: &Plug) -> Self {
        Self {
            stations: plug.segment().stations(),
            last: Cell::new(None),
        }
    }
}

impl Directory for Neighbours {
    fn whose(&self, address: IpAddr) -> Option<Mac> {
        match self.last.get() {
            Some((asked, mac)) if asked == address => mac,
            _ => {
                let mac = self.stations.whose(address);
                self.last.set(Some((address, mac)));
                mac
            }
        }
    }

    fn is_guests(&self, address: IpAddr) -> bool {
        self.stations.is_guests(address)
    }

    fn still_lets_pass(&self, packet: &Packet) -> bool {
        self.stations.still_let_pass(packet)
    }
}

impl Device {
    fn new(attachment: Attachment) -> Result<Self, NetDeviceError> {
        let Attachment {
            plug,
            link,
            numbers,
            decisions,
            limits,
            picks_up_until,
            log,
        } = attachment;
        let epoll =
            Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?);
        let qemu = link.stream().try_clone()?;
        watch(&epoll, &qemu, QEMU)?;
        watch(&epoll, plug.station().inbox.wake(), INBOX)?;
        let offer = Offer {
            features: feature::OFFERED | feature::QUEUES | feature::EVENT_INDEX,
            // MAC, MTU and how many queues there are QEMU says itself.
            space: None,
            pairs: MAX_PAIRS,
        };
        let backend = Backend::new(offer, Arc::clone(&epoll), KICKS)?.logged(log);
        let guest = plug.station().interface.guest;
        let mut flows = Flows::new(guest, limits, numbers, Instant::now());
        flows.pick_up_until(picks_up_until);
        Ok(Self {
            qemu: Front::new(qemu, backend, true)?,
            epoll,
            core: Core::new(plug, flows, decisions),
            link,
        })
    }

    fn run(mut self) -> Result<(), NetDeviceError> {
        let mut events = Vec::with_capacity(16);
        let mut has_more = false;
        loop {
            let timeout = if has_more {
                Some(Duration::ZERO)
            } else {
                let deadline = self.core.port.next_deadline();
                deadline.map(|at| at.saturating_duration_since(Instant::now()))
            };
            self.wait(&mut events, timeout)?;
            for event in events.drain(..) {
                let epoll::Event { data, flags, .. } = event;
                if data.u64() != QEMU {
                    // That there was one is all: the turn that follows looks at both rings, and into the inbox.
                    continue;
                }
                if !flags.contains(epoll::EventFlags::IN) || !self.qemu.take()? {
                    return Ok(());
                }
            }
            if self.link.is_dismissed() {
                return Ok(());
            }
            has_more = self.core.turn(&mut self.qemu.backend(), Instant::now());
        }
    }

    fn wait(
        &self,
        events: &mut Vec<epoll::Event>,
        timeout: Option<Duration>,
    ) -> Result<(), NetDeviceError> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let buffer = rustix::buffer::spare_capacity(events);
        match epoll::wait(&*self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }
}

impl Core {
    /// Of a guest on its segment, which whoever decides knows of from now on.
    #[must_use]
    pub fn new(plug: Plug, flows: Flows, decisions: Arc<Decisions>) -> Self {
        decisions.join(plug.station());
        Self {
            port: Port::new(
                plug.station().interface.clone(),
                flows,
                &plug.resolvers_outside(),
            ),
            plug,
            decisions,
            arrived: VecDeque::new(),
            ready: VecDeque::new(),
            stalled: VecDeque::new(),
            full: [false; MAX_PAIRS],
            goes_on: false,
            steering: Steering::default(),
            sends_next: 0,
            onward: Onward::default(),
            observer: Observer::default(),
            spares: Spares::default(),
        }
    }

    /// Moves at most a batch of packets each way. Returns whether there may be more to move at once.
    pub fn turn(&mut self, backend: &mut Backend, now: Instant) -> bool {
        let features = backend.features();
        let view = View::of(&backend.ram.memory);
        let mut discards_more = false;
        for pair in &mut backend.pairs {
            discards_more |= pair.tx.discard(&view, BATCH);
        }
        let pairs = used(&mut backend.pairs, features);
        for pair in pairs.iter_mut() {
            // It is looked at by itself until this rests.
            pair.tx.want_kicks(&view, false);
        }
        let serving = pairs
            .iter()
            .enumerate()
            .filter(|(_, pair)| pair.rx.serves());
        self.steering.use_queues(serving.map(|(queue, _)| queue));
        let took_packets = self.read_mail(now);
        let sends_more = self.take_sent(pairs, &view, features, now);
        // What was left in the inbox has woken this already, and does not again.
        let receives_more =
            self.give(pairs, &view, features, now) || (!took_packets && self.wants_packets());
        self.port.expire(now);
        self.decisions.ask(self.port.flows.take_questions());
        self.decisions.tell(self.port.names.take_found());
        self.observer.turn(&mut self.port.flows, now);
        let lost = self.onward.go(&self.plug, &mut self.spares);
        if lost > 0 {
            self.port
                .refuse(Direction::Egress, &Refusal::InboxFull, lost);
        }
        if self.spares.are_many() {
            self.plug.station().inbox.leave_spares(&mut self.spares);
        }
        for pair in pairs.iter_mut() {
            pair.tx.signal(&view);
            pair.rx.signal(&view);
        }
        discards_more || sends_more || receives_more || self.want_kicks(pairs, &view, features)
    }

    /// Before this device rests: from now on the guest has to tell of what it sends, and of buffers only where packets wait for some.
    /// Returns whether there is something already.
    fn want_kicks(&self, pairs: &mut [Rings], view: &View<'_>, features: u64) -> bool {
        let mut has_more = false;
        for (pair, is_full) in pairs.iter_mut().zip(self.full) {
            has_more |= pair.tx.want_kicks(view, true);
            has_more |= pair.rx.want_kicks(view, is_full);
        }
        // Of a driver of an older version nothing is looked at.
        has_more && features & (1 << VIRTIO_F_VERSION_1) != 0
    }

    /// Whether packets that are in the inbox can be taken now.
    fn wants_packets(&self) -> bool {
        self.arrived.is_empty() && (self.ready.is_empty() || self.goes_on)
    }

    /// What was decided, before any packet is looked at. Returns whether packets were taken, too: else there may be some.
    fn read_mail(&mut self, now: Instant) -> bool {
        let wants_packets = self.wants_packets();
        let room = wants_packets.then(|| std::mem::take(&mut self.arrived));
        let mail = self.plug.station().inbox.take(room);
        if let Some(isolated) = mail.isolated {
            self.port.isolate(isolated);
            if isolated {
                // They were judged before.
                self.ready.clear();
                self.plug.station().era.end();
            }
            tracing::info!(guest = ?self.port.interface().guest, isolated, "isolation");
        }
        if mail.anew {
            self.port.flows.begin_anew();
            self.port.names.begin_anew();
        }
        if mail.anew || mail.available == Some(false) {
            // They were judged by somebody who is gone.
            self.ready.clear();
            self.plug.station().era.end();
            self.port.drop_answers();
        }
        if let Some(available) = mail.available {
            self.port.flows.set_available(available, now);
        }
        if let Some(resolvers) = &mail.resolvers {
            self.port.names.believe(resolvers, now);
        }
        if let Some(ToldBy { link, what }) = mail.epoch {
            let epoch = self.port.flows.enter(what);
            // They were judged before.
            self.ready.clear();
            self.plug.station().era.end();
            self.port.drop_answers();
            let guest = self.port.interface().guest;
            self.decisions.in_force(link, GuestEpoch { guest, epoch });
        }
        if let Some(fallback) = &mail.fallback {
            self.port.flows.fall_back(fallback);
        }
        for verdict in &mail.verdicts {
            for (way, packet) in self.port.settle(verdict, self.plug.segment(), now) {
                match way {
                    Direction::Egress => self.onward.add(packet),
                    Direction::Ingress => self.ready.push_back(packet),
                }
            }
        }
        // After the verdicts: these were decided before.
        let (answers, changed) = self.port.note(&mail.noted, now);
        if !changed.is_nobody() {
            // They were judged before.
            let is_of = |packet: &Packet| {
                packet
                    .frame
                    .ip()
                    .is_some_and(|ip| changed.contains(ip.source))
            };
            self.ready.retain(|packet| !is_of(packet));
            self.onward.forget(&changed);
            self.plug.station().era.end();
        }
        self.ready.extend(answers);
        if !mail.asks.is_empty() {
            self.observer.take(mail.asks, &mut self.port.flows, now);
        }
        if wants_packets {
            self.arrived = mail.packets;
        }
        wants_packets
    }
}

/// The queues that a driver with these features uses: one each way where it knows of no more.
fn used(pairs: &mut [Rings], features: u64) -> &mut [Rings] {
    let known = if features & feature::QUEUES == 0 {
        1
    } else {
        MAX_PAIRS
    };
    let count = known.min(pairs.len());
    pairs.get_mut(..count).unwrap_or_default()
}

impl Drop for Core {
    fn drop(&mut self) {
        // First: whoever decides may take an epoch for confirmed once this guest is not asked for it.
        self.plug.station().era.end();
        self.decisions.leave(self.plug.station());
        let guest = self.port.interface().guest;
        for (way, reason, refused) in self.port.refusals().iter() {
            tracing::info!(?guest, ?way, %reason, refused, "refused while the device served");
        }
    }
}

/// Most stations for which room is kept between turns.
const KEPT: usize = 8;

/// Packets that pass, by the station that each is for: one of these is woken once a turn.
#[derive(Default)]
struct Onward(Vec<(Mac, Vec<Packet>)>);

impl Onward {
    fn add(&mut self, packet: Packet) {
        let to = packet.frame.destination;
        match self.0.iter_mut().find(|(mac, _)| *mac == to) {
            Some((_, packets)) => packets.push(packet),
            None => self.0.push((to, vec![packet])),
        }
    }

    /// Lets go of what goes to these.
    fn forget(&mut self, peers: &Changed) {
        let is_to = |packet: &Packet| {
            let ip = packet.frame.ip();
            ip.is_some_and(|ip| peers.contains(ip.destination))
        };
        for (_, packets) in &mut self.0 {
            packets.retain(|packet| !is_to(packet));
        }
    }

    /// What has no room there is lost, as on any network.
    ///
    /// Returns how many had none.
    fn go(&mut self, plug: &Plug, spares: &mut Spares) -> u64 {
        let mut lost = 0;
        let era = *plug.station().era.present();
        for (mac, packets) in self.0.iter_mut().filter(|(_, packets)| !packets.is_empty()) {
            let station: Option<Arc<Station>> = plug.segment().station(*mac);
            for packet in &mut *packets {
                packet.era = Some(era);
            }
            match station {
                Some(station) => {
                    lost += station.inbox.put(packets.drain(..));
                    if spares.are_few() {
                        station.inbox.fetch_spares(spares);
                    }
                }
                None if *mac == GATE => lost += plug.send_outside(packets.drain(..)),
                None => packets.clear(),
            }
        }
        self.0.truncate(KEPT);
        lost
    }
}

fn watch(epoll: &OwnedFd, descriptor: impl AsFd, token: u64) -> std::io::Result<()> {
    let token = epoll::EventData::new_u64(token);
    epoll::add(epoll, descriptor, token, epoll::EventFlags::IN)?;
    Ok(())
}

#[cfg(test)]
mod tests;
