//! The switch of one guest: packets in, packets out, connections in between.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll;

use super::connection::{Connection, Next};
use super::header::Header;
use super::host::HostSocket;
use super::journal::Journal;
use super::packet::{HOST_CID, Operation, Packet, PacketError, Ports, STREAM, judge, op};
use super::services::Services;
use super::slots::Slots;

/// Resets that may wait for room in the rx ring before the tx ring has to wait.
const MAX_RESETS: usize = 256;

/// What a guest may make the device hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Open connections at once; a request beyond is reset.
    pub connections: usize,
}

/// One guest's switch.
pub struct Switch {
    cid: u32,
    services: Services,
    slots: Slots,
    /// Slots that may have a packet for the guest; each in turn gives one.
    turns: VecDeque<usize>,
    in_turn: Vec<bool>,
    /// Resets to send, each in the name of a CID.
    resets: VecDeque<(u64, Ports)>,
    /// Watches the host's sockets, each under `tokens` + its slot.
    epoll: Arc<OwnedFd>,
    tokens: u64,
    journal: Option<Journal>,
}

impl Switch {
    /// The switch of guest `cid`. Host sockets are watched by `epoll`, edge-triggered, under the
    /// token `tokens` + slot; report them to [`Self::host_ready`].
    ///
    /// Connections that `journal` still holds from a former process are reset.
    pub fn new(
        cid: u32,
        services: Services,
        limits: Limits,
        (epoll, tokens): (Arc<OwnedFd>, u64),
        journal: Option<Journal>,
    ) -> std::io::Result<Self> {
        let orphans = match &journal {
            Some(journal) => journal.take_orphans(limits.connections)?,
            None => Vec::new(),
        };
        Ok(Self {
            cid,
            services,
            slots: Slots::new(limits.connections),
            turns: VecDeque::new(),
            in_turn: vec![false; limits.connections],
            resets: orphans.into_iter().map(|ports| (HOST_CID, ports)).collect(),
            epoll,
            tokens,
            journal,
        })
    }

    /// Whether another packet of the guest can be taken: not while too many resets wait for it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// Whether there may be a packet for the guest.
    #[must_use]
    pub fn has_packets(&self) -> bool {
        !self.resets.is_empty() || !self.turns.is_empty()
    }

    /// Takes a packet of the guest. An error means that the packet was not acted upon; where one is
    /// due, the reset is queued.
    pub fn receive(&mut self, header: &Header, payload: &[u8]) -> Result<(), PacketError> {
        match judge(header, self.cid) {
            Ok(packet) => self.act(&packet, payload),
            Err(error) => {
                if error.is_answered() && header.op != op::RST {
                    let ports = Ports {
                        guest: header.src_port,
                        host: header.dst_port,
                    };
                    self.resets.push_back((header.dst_cid, ports));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// A host socket, by its slot, became ready.
    pub fn host_ready(&mut self, slot: usize) {
        if let Some((_, connection)) = self.slots.at(slot) {
            connection.host_ready();
            self.take_turn(slot);
        }
    }

    /// The next packet for the guest, with at most `room` bytes of payload (put into `payload`).
    /// Connections take turns, a packet each.
    pub fn next_packet(&mut self, room: usize, payload: &mut Vec<u8>) -> Option<Header> {
        payload.clear();
        if let Some((src_cid, ports)) = self.resets.pop_front() {
            return Some(Header {
                src_cid,
                ..self.reset_of(ports)
            });
        }
        while let Some(slot) = self.turns.pop_front() {
            if let Some(waits) = self.in_turn.get_mut(slot) {
                *waits = false;
            }
            let Some((ports, connection)) = self.slots.at(slot) else {
                continue;
            };
            match connection.next(room, payload) {
                Next::Packet(header) => {
                    self.take_turn(slot);
                    return Some(self.address(ports, header));
                }
                Next::Nothing => {}
                Next::Over => {
                    // What was being read when the host's side broke belongs to nobody: a reset is its header alone.
                    payload.clear();
                    self.drop_connection(slot);
                    return Some(self.reset_of(ports));
                }
            }
        }
        None
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter_map(|(_, connection)| connection.deadline())
            .min()
    }

    /// Resets the connections whose deadline is over.
    pub fn expire(&mut self, now: Instant) {
        let over: Vec<usize> = self
            .slots
            .iter()
            .filter(|(_, connection)| connection.deadline().is_some_and(|at| at <= now))
            .map(|(slot, _)| slot)
            .collect();
        for slot in over {
            self.reset(slot);
        }
    }

    /// Forgets everything: the guest started anew and knows none of it either.
    pub fn forget(&mut self) {
        let all: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            self.drop_connection(slot);
        }
        self.resets.clear();
    }

    fn act(&mut self, packet: &Packet, payload: &[u8]) {
        let found = self.slots.find(packet.ports);
        match (packet.operation, found) {
            (Operation::Request, known) => {
                // The guest's kernel gives a port anew only when its old connection is dead to it.
                if let Some(slot) = known {
                    self.drop_connection(slot);
                }
                self.open(packet);
            }
            (Operation::Reset, Some(slot)) => self.drop_connection(slot),
            (Operation::Reset, None) => {}
            (_, None) => self.refuse(packet.ports),
            (_, Some(slot)) => self.advance(slot, packet, payload),
        }
    }

    fn open(&mut self, packet: &Packet) {
        let Some((connection, slot)) = self.connect(packet) else {
            return self.refuse(packet.ports);
        };
        self.slots.insert(packet.ports, connection);
        self.take_turn(slot);
    }

    fn connect(&self, packet: &Packet) -> Option<(Connection, usize)> {
        let slot = self.slots.vacancy()?;
        let address = self.services.address(packet.ports.host)?;
        let host = HostSocket::connect(address)
            .inspect_err(|error| tracing::debug!(port = packet.ports.host, %error, "service away"))
            .ok()?;
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let token = epoll::EventData::new_u64(self.tokens + slot as u64);
        epoll::add(&*self.epoll, &host, token, flags).ok()?;
        if let Some(journal) = &self.journal {
            journal.opened(slot, packet.ports).ok()?;
        }
        Some((Connection::new(host, packet.buf_alloc), slot))
    }

    fn advance(&mut self, slot: usize, packet: &Packet, payload: &[u8]) {
        let Some((_, connection)) = self.slots.at(slot) else {
            return;
        };
        let mut outcome = connection.learn(packet.buf_alloc, packet.fwd_cnt);
        let mut is_over = false;
        match packet.operation {
            Operation::Data => outcome = outcome.and_then(|()| connection.receive(payload)),
            Operation::Shutdown { receive, send } => {
                connection.shutdown(receive, send, Instant::now());
            }
            Operation::CreditRequest => connection.owe_credit(),
            Operation::CreditUpdate => {}
            // Nobody here asked the guest for a connection.
            Operation::Response | Operation::Request | Operation::Reset => is_over = true,
        }
        if let Err(error) = outcome {
            tracing::debug!(cid = self.cid, %error, "the guest ignored its credit");
            is_over = true;
        }
        if is_over {
            self.reset(slot)
        } else {
            self.take_turn(slot)
        }
    }

    fn reset(&mut self, slot: usize) {
        if let Some(ports) = self.slots.at(slot).map(|(ports, _)| ports) {
            self.drop_connection(slot);
            self.refuse(ports);
        }
    }

    fn drop_connection(&mut self, slot: usize) {
        self.slots.remove(slot);
        if let Some(journal) = &self.journal {
            // A record too many costs one needless reset after the next restart.
            let _ = journal.closed(slot);
        }
    }

    fn refuse(&mut self, ports: Ports) {
        self.resets.push_back((HOST_CID, ports));
    }

    fn take_turn(&mut self, slot: usize) {
        if let Some(waits) = self.in_turn.get_mut(slot)
            && !std::mem::replace(waits, true)
        {
            self.turns.push_back(slot);
        }
    }

    fn reset_of(&self, ports: Ports) -> Header {
        self.address(
            ports,
            Header {
                op: op::RST,
                ..Header::default()
            },
        )
    }

    fn address(&self, ports: Ports, header: Header) -> Header {
        Header {
            src_cid: HOST_CID,
            dst_cid: self.cid.into(),
            src_port: ports.host,
            dst_port: ports.guest,
            kind: STREAM,
            ..header
        }
    }
}

#[cfg(test)]
mod tests;
