//! One guest's port: what becomes of each packet of its and for it.

use std::net::IpAddr;
use std::time::Instant;

use bartizan_local::admission::Interface;
use bartizan_local::flow::{Direction, Noted, Verdict};

use super::deliver::DeliverError;
use super::dhcp;
use super::dns::{Changed, Names, NamesError};
use super::flow::{FlowError, Flows, Judged};
use super::frame::{Arp, ArpOperation, Body, Frame, Ip, Mac, Neighbour, NeighbourKind, Transport};
use super::guard::{self, Spoof};
use super::packet::{Packet, PacketError};
use super::refusals::Refusals;
use super::uplink::OutsideError;

/// Whose addresses are, on the guest's segment.
pub trait Directory {
    /// Whose an IP address is.
    fn whose(&self, address: IpAddr) -> Option<Mac>;

    /// Whether an IP address is a guest's, whether it has a device just then or not.
    fn is_guests(&self, address: IpAddr) -> bool;

    /// Whether what a packet was let pass by on its sender's side still holds.
    fn still_lets_pass(&self, packet: &Packet) -> bool;
}

/// A guest's port.
#[derive(Debug)]
pub struct Port {
    interface: Interface,
    /// Its flows.
    pub flows: Flows,
    /// What it asks DNS servers.
    pub names: Names,
    refusals: Refusals,
    is_isolated: bool,
}

/// What becomes of a packet of the guest's.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It goes to the station that it is for.
    On(Packet),
    /// It was for this host, which answers by this.
    Answered(Packet),
    /// It waits for a verdict, or is nobody's business.
    Taken,
}

/// A packet does not pass.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The guest is cut from every network.
    #[error("the guest is isolated")]
    Isolated,
    /// It is no packet that is carried.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The guest says what it is not.
    #[error(transparent)]
    Spoof(#[from] Spoof),
    /// Its flow may not be.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// It is a DNS answer that cannot be told, or was not noted.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// It is for several stations, or for one that there is not, or that has not that address.
    #[error("no station of the segment has these addresses")]
    Nobody,
    /// It is not for this guest.
    #[error("the packet is not for this guest")]
    Misdirected,
    /// Its receiver has as many of its sender's that wait as there may be.
    #[error("the receiver is too slow for its sender")]
    InboxFull,
    /// Its sender was isolated, or is decided on anew, or is gone, since it was let pass.
    #[error("what the packet was let pass by on its sender's side does not hold any more")]
    Overtaken,
    /// It does not pass the uplink.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// The guest's buffers do not take it.
    #[error(transparent)]
    Delivery(#[from] DeliverError),
}

impl Port {
    /// Of a device with these flows; of DNS servers outside of this host only the answers of these may count.
    #[must_use]
    pub fn new(interface: Interface, flows: Flows, resolvers_outside: &[IpAddr]) -> Self {
        Self {
            names: Names::new(interface.guest, flows.numbers(), resolvers_outside),
            interface,
            flows,
            refusals: Refusals::default(),
            is_isolated: false,
        }
    }

    /// What it is.
    #[must_use]
    pub const fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Cuts the guest from every network, or lets it back.
    pub fn isolate(&mut self, isolated: bool) {
        self.is_isolated = isolated;
        if isolated {
            self.drop_answers();
        }
    }

    /// Packets that go that way do not pass.
    pub fn refuse(&mut self, way: Direction, refusal: &Refusal, packets: u64) {
        let guest = self.interface.guest;
        self.refusals.count(guest, way, refusal, packets);
    }

    /// How many did not, and why.
    #[must_use]
    pub const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Takes a packet of the guest's.
    pub fn send(
        &mut self,
        packet: Packet,
        segment: &impl Directory,
        now: Instant,
    ) -> Result<Sent, Refusal> {
        if self.is_isolated {
            return Err(Refusal::Isolated);
        }
        guard::check_sent(&self.interface, &packet.frame)?;
        match &packet.frame.body {
            Body::Arp(arp) => self.answer(answer_arp(arp, segment)),
            Body::Ip(ip) => match &ip.transport {
                Transport::Neighbour(message) => {
                    self.answer(answer_neighbour(&packet.frame, ip, message, segment))
                }
                Transport::Udp {
                    source: 68,
                    destination: 67,
                } => self.answer(dhcp::answer(&self.interface, &packet)),
                // Known attack: a guest that speaks to itself has its flow judged as both sides of one.
                _ if packet.frame.destination == packet.frame.source
                    || !is_at(segment, ip.destination, packet.frame.destination) =>
                {
                    Err(Refusal::Nobody)
                }
                _ => Ok(match self.flows.judge(packet, Direction::Egress, now)? {
                    Judged::Pass(packet) => {
                        self.names.sent(&packet, now);
                        Sent::On(packet)
                    }
                    Judged::Held => Sent::Taken,
                }),
            },
        }
    }

    /// Takes a packet for the guest; returns it where it may have it now.
    pub fn receive(
        &mut self,
        packet: Packet,
        segment: &impl Directory,
        now: Instant,
    ) -> Result<Option<Packet>, Refusal> {
        if self.is_isolated {
            return Err(Refusal::Isolated);
        }
        let ip = packet.frame.ip().ok_or(Refusal::Misdirected)?;
        let is_for_it = packet.frame.destination == Mac(self.interface.mac)
            && guard::is_own(&self.interface, ip.destination);
        if !is_for_it {
            return Err(Refusal::Misdirected);
        }
        Ok(match self.flows.judge(packet, Direction::Ingress, now)? {
            Judged::Pass(packet) => {
                let is_available = self.flows.is_available();
                self.names.received(packet, is_available, segment, now)?
            }
            Judged::Held => None,
        })
    }

    /// Takes a verdict; returns what it lets pass, each with its way.
    pub fn settle(
        &mut self,
        verdict: &Verdict,
        segment: &impl Directory,
        now: Instant,
    ) -> Vec<(Direction, Packet)> {
        if verdict.guest != self.interface.guest {
            return Vec::new();
        }
        let mut released = self.flows.settle(verdict, now);
        if self.is_isolated {
            released.clear();
        }
        let looked_at = released.into_iter().filter_map(|(way, packet)| {
            let passes = match way {
                Direction::Egress => {
                    self.names.sent(&packet, now);
                    Ok(Some(packet))
                }
                // Before it is taken for what its sender still says.
                Direction::Ingress if !segment.still_lets_pass(&packet) => Err(Refusal::Overtaken),
                Direction::Ingress => {
                    let is_available = self.flows.is_available();
                    let received = self.names.received(packet, is_available, segment, now);
                    received.map_err(Refusal::from)
                }
            };
            if let Err(refusal) = &passes {
                self.refuse(way, refusal, 1);
            }
            Some((way, passes.ok()??))
        });
        looked_at.collect()
    }

    /// DNS answers are known; returns those that the guest may have now, and the peers of which other things hold by that.
    pub fn note(&mut self, noted: &[Noted], now: Instant) -> (Vec<Packet>, Changed) {
        let (mut packets, mut changed) = (Vec::new(), Changed::default());
        for noted in noted {
            let (packet, peers) = self.names.note(noted);
            packets.extend(packet.filter(|_| !self.is_isolated));
            changed = changed.and(peers);
        }
        if !changed.is_nobody() {
            self.flows.peers_changed(&changed, now);
        }
        (packets, changed)
    }

    /// The guest does not get the DNS answers that wait: what they passed by does not hold any more.
    pub fn drop_answers(&mut self) {
        let dropped = self.names.drop_held();
        self.refuse_answers(dropped);
    }

    /// Lets go of what has waited too long.
    pub fn expire(&mut self, now: Instant) {
        self.flows.expire(now);
        let dropped = self.names.expire(now);
        self.refuse_answers(dropped);
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.flows.next_deadline(), self.names.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn refuse_answers(&mut self, count: u64) {
        if count > 0 {
            self.refuse(Direction::Ingress, &NamesError::NotNoted.into(), count);
        }
    }

    fn answer(&self, answer: Option<Vec<u8>>) -> Result<Sent, Refusal> {
        let Some(bytes) = answer else {
            return Ok(Sent::Taken);
        };
        let packet = Packet::own(bytes).map_err(PacketError::from)?;
        Ok(Sent::Answered(packet))
    }
}

/// Whether one station has both addresses.
fn is_at(segment: &impl Directory, address: IpAddr, mac: Mac) -> bool {
    !mac.is_group() && segment.whose(address) == Some(mac)
}

/// In the name of whoever has the address; nobody is asked. Of a probe for the guest's own there is none.
fn answer_arp(arp: &Arp, segment: &impl Directory) -> Option<Vec<u8>> {
    let asks = arp.operation == ArpOperation::Request && arp.sender_ip != arp.target_ip;
    let station = segment.whose(arp.target_ip.into()).filter(|_| asks)?;
    (station != arp.sender).then(|| arp.answered_by(station))
}

/// Likewise.
fn answer_neighbour(
    frame: &Frame,
    ip: &Ip,
    message: &Neighbour,
    segment: &impl Directory,
) -> Option<Vec<u8>> {
    let target = message.target?;
    let IpAddr::V6(asker) = ip.source else {
        return None;
    };
    let station = segment.whose(target.into())?;
    let asks = message.kind == NeighbourKind::Solicitation && !asker.is_unspecified();
    (asks && station != frame.source)
        .then(|| Neighbour::answered_by(target, station, (frame.source, asker)))
}
