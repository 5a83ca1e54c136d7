//! What guests send outside: to whom it goes there, and questions for whom that is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bartizan_local::admission::Interface;
use bartizan_local::flow::Direction;

use super::core::Core;
use super::neighbours::{Asked, Asker, Next};
use super::outbox::Outgoing;
use super::{GATE, OutsideError, Tap, is_broadcast, next_hop};
use crate::net::fabric::Stations;
use crate::net::frame::{Arp, Mac, Neighbour};
use crate::net::guard;
use crate::net::port::Refusal;

impl Core {
    /// Sends what is in the outbox.
    pub(super) fn send_mail(&mut self, tap: &Tap, stations: &Stations, now: Instant) {
        let room = std::mem::take(&mut self.room);
        let mut packets = self.uplink.outbox.take(room);
        for packet in packets.drain(..) {
            if let Err(refusal) = self.send_outside(tap, stations, packet, now) {
                self.refuse(Direction::Egress, &refusal, 1);
            }
        }
        self.room = packets;
    }

    /// Asks again, and lets go of what has waited in vain.
    pub(super) fn expire(&mut self, tap: &Tap, now: Instant) {
        let mut questions = Vec::new();
        let lost = self.neighbours.expire(now, &mut questions);
        self.ask(tap, &questions);
        for (error, lost) in [
            (OutsideError::NoNeighbour, lost.unanswered),
            (OutsideError::Overtaken, lost.overtaken),
        ] {
            if lost > 0 {
                self.refuse(Direction::Egress, &error.into(), lost);
            }
        }
    }

    /// Somebody outside says that an address is his.
    pub(super) fn hear(&mut self, tap: &Tap, address: IpAddr, mac: Mac, now: Instant) {
        for outgoing in self.neighbours.answer(address, mac, now) {
            if let Err(error) = hand_over(tap, outgoing, mac) {
                self.refuse(Direction::Egress, &error.into(), 1);
            }
        }
    }

    fn send_outside(
        &mut self,
        tap: &Tap,
        stations: &Stations,
        outgoing: Outgoing,
        now: Instant,
    ) -> Result<(), Refusal> {
        let station = Arc::clone(outgoing.station());
        let (interface, packet) = (&station.interface, &outgoing.packet);
        let ip = packet.frame.ip().ok_or(Refusal::Nobody)?;
        // Nor is anybody asked for it.
        if !outgoing.is_present() {
            return Err(OutsideError::Overtaken.into());
        }
        if is_broadcast(interface, ip.destination) {
            return Err(Refusal::Nobody);
        }
        let settings = &self.uplink.settings;
        let hop = next_hop(interface, settings, ip.destination).ok_or(OutsideError::NoGateway)?;
        if packet.frame.destination != GATE || stations.whose(hop) != Some(GATE) {
            return Err(Refusal::Nobody);
        }
        let configured = settings.gateway_mac;
        let is_gateway = settings.gateways().contains(&Some(hop));
        if let Some(mac) = configured.filter(|_| is_gateway) {
            return Ok(hand_over(tap, outgoing, mac)?);
        }
        let asker = Asker {
            mac: outgoing.sender(),
            address: asking(interface, hop).ok_or(OutsideError::NoNeighbour)?,
        };
        let mut questions = Vec::new();
        let next = self
            .neighbours
            .find(outgoing, asker, hop, now, &mut questions)?;
        self.ask(tap, &questions);
        match next {
            Next::To(mac, outgoing) => Ok(hand_over(tap, outgoing, mac)?),
            Next::Waits => Ok(()),
        }
    }

    fn ask(&mut self, tap: &Tap, questions: &[Asked]) {
        for Asked { asker, address } in questions {
            let question = match (asker.address, address) {
                (IpAddr::V4(own), IpAddr::V4(address)) => Arp::question((asker.mac, own), *address),
                (IpAddr::V6(own), IpAddr::V6(address)) => {
                    Neighbour::question((asker.mac, own), *address)
                }
                _ => continue,
            };
            self.send_own(tap, &question);
        }
    }
}

/// A guest's address by which a neighbour of that address is asked.
fn asking(interface: &Interface, neighbour: IpAddr) -> Option<IpAddr> {
    match neighbour {
        IpAddr::V4(_) => interface.ipv4.map(|own| own.address.into()),
        IpAddr::V6(neighbour) => {
            let local = guard::link_local(Mac(interface.mac));
            let own = interface.ipv6.map(|own| own.address);
            let own = own.filter(|_| !neighbour.is_unicast_link_local());
            Some(own.unwrap_or(local).into())
        }
    }
}

fn hand_over(tap: &Tap, outgoing: Outgoing, to: Mac) -> Result<(), OutsideError> {
    let left = outgoing.leave(|mut packet| {
        if let Some(place) = packet.bytes.first_chunk_mut() {
            *place = to.0;
        }
        packet.frame.destination = to;
        let header = packet.work.header(&packet.frame);
        tap.send(&header, &packet.bytes)
    });
    match left {
        Some(true) => Ok(()),
        Some(false) => Err(OutsideError::Tap),
        None => Err(OutsideError::Overtaken),
    }
}
