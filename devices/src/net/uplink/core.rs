//! What an uplink's thread does at each of its turns. It stands by itself, so that it can be tested in one thread with guests.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bartizan_local::flow::Direction;

use super::guard::check_arrived;
use super::neighbours::Neighbours;
use super::outbox::Outgoing;
use super::{GATE, OutsideError, Tap, Uplink};
use crate::net::fabric::{Fabric, Station, Stations};
use crate::net::frame::{ArpOperation, Body, Frame, Ip, Mac, Neighbour, NeighbourKind, Transport};
use crate::net::header::{Header, feature};
use crate::net::packet::{Packet, PacketError};
use crate::net::port::Refusal;
use crate::net::refusals::Refusals;

/// Frames from outside before what guests send is looked at again.
const BATCH: usize = 128;
/// Where a frame's source is.
const SOURCE: std::ops::Range<usize> = 6..12;

/// An uplink, but for its thread and its TAP device.
#[derive(Debug)]
pub struct Core {
    pub(super) uplink: Arc<Uplink>,
    fabric: Arc<Fabric>,
    pub(super) neighbours: Neighbours,
    refusals: Refusals,
    /// For what guests send, used again.
    pub(super) room: VecDeque<Outgoing>,
    /// What came in one turn, by the guest that it is for, each of whom is woken once.
    arrived: Vec<(Arc<Station>, Vec<Packet>)>,
}

/// What a frame from outside is.
enum Arrived {
    /// A packet for that guest.
    For(Arc<Station>, Packet),
    /// The answer goes back outside.
    Answered(Vec<u8>),
    /// It says whose an address is.
    Told(std::net::IpAddr, Mac),
    /// It is nobody's business here.
    Taken,
}

impl Core {
    /// Of a segment of that fabric.
    #[must_use]
    pub fn new(fabric: &Arc<Fabric>, uplink: &Arc<Uplink>) -> Self {
        Self {
            uplink: Arc::clone(uplink),
            fabric: Arc::clone(fabric),
            neighbours: Neighbours::default(),
            refusals: Refusals::default(),
            room: VecDeque::new(),
            arrived: Vec::new(),
        }
    }

    /// Moves what guests have sent, and at most a batch of frames from outside. Returns whether there may be more of these.
    pub fn turn(&mut self, tap: &mut Tap, now: Instant) -> io::Result<bool> {
        let stations = self.fabric.stations(&self.uplink.settings.segment);
        self.send_mail(tap, &stations, now);
        let received = self.receive(tap, &stations, now);
        for (station, packets) in std::mem::take(&mut self.arrived) {
            let lost = station.inbox.put(packets);
            if lost > 0 {
                self.refuse(Direction::Ingress, &Refusal::InboxFull, lost);
            }
        }
        self.expire(tap, now);
        received
    }

    /// When [`Self::turn`] has something to do, whatever comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.neighbours.next_deadline()
    }

    /// What did not pass, and why: in from outside, out to it.
    #[must_use]
    pub const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How many addresses are asked for or known.
    #[cfg(test)]
    pub(in crate::net) fn asked(&self) -> usize {
        self.neighbours.len()
    }

    pub(super) fn refuse(&mut self, way: Direction, refusal: &Refusal, packets: u64) {
        let segment = self.uplink.settings.segment.as_str();
        self.refusals
            .count(format_args!("outside of {segment}"), way, refusal, packets);
    }

    /// Sends a frame of this host's own.
    pub(super) fn send_own(&mut self, tap: &Tap, frame: &[u8]) {
        if !tap.send(&Header::default(), frame) {
            self.refuse(Direction::Egress, &OutsideError::Tap.into(), 1);
        }
    }

    fn receive(&mut self, tap: &mut Tap, stations: &Stations, now: Instant) -> io::Result<bool> {
        for _ in 0..BATCH {
            let Some((header, bytes)) = tap.receive()? else {
                return Ok(false);
            };
            match judge(stations, &header, bytes) {
                Ok(Arrived::For(station, packet)) => self.add(station, packet),
                Ok(Arrived::Answered(answer)) => self.send_own(tap, &answer),
                Ok(Arrived::Told(address, mac)) => self.hear(tap, address, mac, now),
                Ok(Arrived::Taken) => {}
                Err(refusal) => self.refuse(Direction::Ingress, &refusal, 1),
            }
        }
        Ok(true)
    }

    fn add(&mut self, station: Arc<Station>, packet: Packet) {
        let mut all = self.arrived.iter_mut();
        match all.find(|(other, _)| Arc::ptr_eq(other, &station)) {
            Some((_, packets)) => packets.push(packet),
            None => self.arrived.push((station, vec![packet])),
        }
    }
}

/// What becomes of a frame from outside.
fn judge(stations: &Stations, header: &Header, bytes: &[u8]) -> Result<Arrived, Refusal> {
    let receiver = bytes.first_chunk().map(|to| Mac(*to));
    let station = receiver.and_then(|mac| stations.station(mac));
    // For whom it is not it is refused below, or answered.
    let mtu = station.map_or(u16::MAX, |station| station.interface.mtu);
    if bytes.len() > crate::net::packet::MAX_FRAME {
        return Err(PacketError::TooLong.into());
    }
    let packet = Packet::new(header, bytes.to_vec(), feature::OFFERED, mtu)?;
    check_arrived(stations, &packet.frame)?;
    match &packet.frame.body {
        Body::Arp(arp) => Ok(match arp.operation {
            ArpOperation::Request => match stations.station_at(arp.target_ip.into()) {
                Some(mac) => Arrived::Answered(arp.answered_by(mac)),
                None => Arrived::Taken,
            },
            ArpOperation::Reply => Arrived::Told(arp.sender_ip.into(), arp.sender),
        }),
        Body::Ip(ip) => match &ip.transport {
            Transport::Neighbour(message) => Ok(neighbour(stations, &packet.frame, ip, message)),
            _ => {
                let station = station.filter(|station| {
                    let own = Mac(station.interface.mac);
                    stations.station_at(ip.destination) == Some(own)
                });
                let station = Arc::clone(station.ok_or(Refusal::Nobody)?);
                Ok(Arrived::For(station, by_the_gate(packet)))
            }
        },
    }
}

fn neighbour(stations: &Stations, frame: &Frame, ip: &Ip, message: &Neighbour) -> Arrived {
    let (Some(target), std::net::IpAddr::V6(asker)) = (message.target, ip.source) else {
        return Arrived::Taken;
    };
    match message.kind {
        NeighbourKind::Advertisement => Arrived::Told(target.into(), frame.source),
        NeighbourKind::Solicitation if !asker.is_unspecified() => {
            let station = stations.station_at(target.into());
            station.map_or(Arrived::Taken, |mac| {
                Arrived::Answered(Neighbour::answered_by(target, mac, (frame.source, asker)))
            })
        }
        _ => Arrived::Taken,
    }
}

/// To guests, all that is outside is one station.
fn by_the_gate(mut packet: Packet) -> Packet {
    if let Some(place) = packet.bytes.get_mut(SOURCE) {
        place.copy_from_slice(&GATE.0);
    }
    packet.frame.source = GATE;
    packet
}
