//! DNS answers for a guest, matched with what it asked: who decides hears of an answer before the guest has it.
//!
//! ```text
//!   guest ── query ──► outstanding: server, addresses, ports, id, question ──► server
//!   guest ◄── Noted ── held ◄── Resolved ── matched: all of these are the query's ◄── answer
//! ```
//!
//! Only servers are looked at that whoever decides has told, only UDP, and only questions about addresses (types A and AAAA). What
//! matches no query is no answer here, and goes its way as any packet of a flow that may be: no name is known by it.
//!
//! What is matched and cannot be told, or is not noted in time, the guest does not get: it would connect to an address before it
//! is known under that name, and ask the server no more for as long as it keeps the answer.
//!
//! Known attack: a forged answer comes before the server's. On a segment nobody has another's address (see [`super::guard`]), and what
//! does not match in id, ports and the question's very bytes (draft-vixie-dnsext-dns0x20) leaves the query outstanding.
//!
//! Known attack: a guest asks a server outside of this host, and somebody outside who helps it answers in the server's name, so that his
//! own address has a name to which policies let it speak. Of servers outside only those count of which the uplink's settings say so.

mod held;
mod message;
mod name;
mod outstanding;
#[cfg(test)]
pub(crate) mod sample;
mod told;

use std::net::IpAddr;
use std::time::Instant;

use bartizan_local::flow::{Direction, Guest, MAX_RESOLVERS, Noted, Resolved, Resolvers};

use super::flow::Numbers;
use super::frame::{Ip, Transport};
use super::packet::Packet;
use super::port::Directory;
use super::uplink;
use held::{Held, Waiting};
pub use message::{Answer, DnsError, Query};
use outstanding::{Asker, Outstanding};
use told::Told;

/// The port that servers have (RFC 1035 section 4.2.1).
const PORT: u16 = 53;
/// A header of UDP, in bytes.
const UDP_HEADER: usize = 8;

/// One guest's questions to servers whose answers count, and the answers that wait.
#[derive(Debug)]
pub struct Names {
    guest: Guest,
    numbers: Numbers,
    resolvers: Vec<IpAddr>,
    /// Of servers outside of this host, those whose answers may count.
    outside: Vec<IpAddr>,
    outstanding: Outstanding,
    held: Held,
    told: Told,
    found: Vec<Resolved>,
}

/// A guest does not get an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NamesError {
    /// Nobody is there to be told.
    #[error("nobody can be told now which names the answer gives")]
    Unavailable,
    /// Too much waits.
    #[error("too many DNS answers for the guest wait to be noted")]
    TooManyHeld,
    /// It was told, and whoever was told did not say so in time, or is gone.
    #[error("the DNS answer was not noted in time")]
    NotNoted,
}

impl Names {
    /// Of a guest with no server whose answers count; of those outside of this host only these ever do.
    #[must_use]
    pub fn new(guest: Guest, numbers: Numbers, outside: &[IpAddr]) -> Self {
        Self {
            guest,
            numbers,
            resolvers: Vec::new(),
            outside: outside.to_vec(),
            outstanding: Outstanding::default(),
            held: Held::default(),
            told: Told::default(),
            found: Vec::new(),
        }
    }

    /// From now on these servers' answers count, and no other's. Who says so may not have heard of those that came before.
    pub fn believe(&mut self, resolvers: &Resolvers, now: Instant) {
        let servers = resolvers.servers.iter().take(MAX_RESOLVERS);
        self.resolvers = servers.copied().collect();
        let again = self.told.again(&self.resolvers, &self.numbers, now);
        self.found.extend(again);
    }

    /// Somebody else decides from now on, and has told nothing yet.
    pub fn begin_anew(&mut self) {
        self.resolvers.clear();
    }

    /// A packet of the guest's goes its way.
    #[inline]
    pub fn sent(&mut self, packet: &Packet, now: Instant) {
        if let Some((ip, local_port, PORT)) = packet.frame.ip().and_then(of_udp) {
            self.asked(packet, ip, local_port, now);
        }
    }

    fn asked(&mut self, packet: &Packet, ip: &Ip, local_port: u16, now: Instant) {
        if !self.counts(ip.destination, packet, Direction::Egress) {
            return;
        }
        if let Ok(query) = Query::parse(payload(packet, ip)) {
            let asker = Asker {
                resolver: ip.destination,
                local: (ip.source, local_port),
            };
            self.outstanding.add(asker, query, now);
        }
    }

    /// A packet for the guest may go its way; returns it, unless it waits. `is_available`: whether anybody can be told of it.
    #[inline]
    pub fn received(
        &mut self,
        packet: Packet,
        is_available: bool,
        segment: &impl Directory,
        now: Instant,
    ) -> Result<Option<Packet>, NamesError> {
        match packet.frame.ip().and_then(of_udp) {
            Some((_, PORT, local_port)) => {
                self.answered(packet, local_port, is_available, segment, now)
            }
            _ => Ok(Some(packet)),
        }
    }

    fn answered(
        &mut self,
        packet: Packet,
        local_port: u16,
        is_available: bool,
        segment: &impl Directory,
        now: Instant,
    ) -> Result<Option<Packet>, NamesError> {
        let Some((resolver, answer)) = self.matched(&packet, local_port, now) else {
            return Ok(Some(packet));
        };
        if answer.addresses.is_empty() {
            return Ok(Some(packet));
        }
        if !is_available {
            return Err(NamesError::Unavailable);
        }
        let addresses = answer.addresses.iter().copied();
        let guests = addresses.filter(|address| segment.is_guests(*address));
        let resolved = Resolved {
            guests: guests.collect(),
            number: self.numbers.next(),
            guest: self.guest,
            resolver,
            name: answer.name,
            addresses: answer.addresses,
            ttl_s: answer.ttl_s,
            since_s: 0,
        };
        let waiting = Waiting {
            packet,
            resolved: resolved.clone(),
            came: now,
        };
        if !self.held.add(waiting) {
            return Err(NamesError::TooManyHeld);
        }
        self.found.push(resolved);
        Ok(None)
    }

    /// Whether the answers of that server count, to which that packet goes or from which it comes.
    fn counts(&self, server: IpAddr, packet: &Packet, way: Direction) -> bool {
        let is_outside = uplink::is_peer_outside(&packet.frame, way);
        self.resolvers.contains(&server) && (!is_outside || self.outside.contains(&server))
    }

    /// The server and what it answers, where that is what the guest asked.
    fn matched(
        &mut self,
        packet: &Packet,
        local_port: u16,
        now: Instant,
    ) -> Option<(IpAddr, Answer)> {
        let ip = packet.frame.ip()?;
        if !self.counts(ip.source, packet, Direction::Ingress) {
            return None;
        }
        let asker = Asker {
            resolver: ip.source,
            local: (ip.destination, local_port),
        };
        let message = payload(packet, ip);
        let query = self.outstanding.take(&asker, message, now)?;
        // It has had its answer, whatever that is worth.
        let answer = Answer::parse(message, &query).ok()?;
        Some((ip.source, answer))
    }

    /// The answers that are to be told since this was called last.
    pub fn take_found(&mut self) -> Vec<Resolved> {
        std::mem::take(&mut self.found)
    }

    /// An answer is known; returns it, if it waited for that, and the peers of which other things hold now.
    ///
    /// Known attack: the answer was let go of meanwhile, and what had been decided of its addresses stays, since they are known by then.
    pub fn note(&mut self, noted: &Noted) -> (Option<Packet>, Changed) {
        if noted.guest != self.guest {
            return (None, Changed::default());
        }
        let (packet, addresses) = match self.held.take(noted.number) {
            Some(waiting) => {
                let addresses = waiting.resolved.addresses.clone();
                self.told.keep(waiting.resolved, waiting.came);
                (Some(waiting.packet), Changed::Of(addresses))
            }
            None => {
                let addresses = self.told.noted(noted.number);
                (None, addresses.map_or(Changed::Any, Changed::Of))
            }
        };
        let changed = if noted.anew {
            addresses
        } else {
            Changed::default()
        };
        (packet, changed)
    }

    /// Lets go of the answers that wait; returns how many. They passed by what does not hold any more, or nobody will note them.
    pub fn drop_held(&mut self) -> u64 {
        self.held.clear()
    }

    /// Lets go of the answers that have waited too long; returns how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        self.held.expire(now)
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.held.next_deadline()
    }
}

/// Peers of which something else is known than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    /// These.
    Of(Vec<IpAddr>),
    /// Any may be one: which, is not known any more.
    Any,
}

impl Default for Changed {
    /// None.
    fn default() -> Self {
        Self::Of(Vec::new())
    }
}

impl Changed {
    /// Whether there is none.
    #[must_use]
    pub const fn is_nobody(&self) -> bool {
        matches!(self, Self::Of(peers) if peers.is_empty())
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        match self {
            Self::Of(peers) => peers.contains(&peer),
            Self::Any => true,
        }
    }

    /// These, and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(peers), Self::Of(others)) => Self::Of([peers, others].concat()),
            _ => Self::Any,
        }
    }
}

/// Of a datagram its packet, and the sender's port and the receiver's.
const fn of_udp(ip: &Ip) -> Option<(&Ip, u16, u16)> {
    match ip.transport {
        Transport::Udp {
            source,
            destination,
        } => Some((ip, source, destination)),
        _ => None,
    }
}

/// What a datagram carries.
fn payload<'p>(packet: &'p Packet, ip: &Ip) -> &'p [u8] {
    let at = ip.transport_at + UDP_HEADER;
    packet.bytes.get(at..ip.end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
