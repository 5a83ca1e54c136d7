//! What may begin while nobody can decide, found in advance: then there is nobody to ask.
//!
//! Rules are read for where to look, and for nothing else: the starts of their ranges are decided on as questions are, each decision says
//! how far the same holds, and where that ends the next one is asked for.
//!
//! ```text
//!   ports of a rule    80 ─────────────────────────── 99
//!   decided on         80 ► 80-89     90 ► 90    91 ► 91-99      another rule denies 90
//! ```
//!
//! Names are not known then: what was learnt of them ends while nobody is there to say so. So no rule by names allows, and each that denies
//! does.
//!
//! Known attack: a policy of which this finds no end. The decisions are counted, and so is what they come to, and their time is measured:
//! once it is enough nothing further is looked for, and what was not found is denied.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use bartizan_local::flow::{Direction, Flow, MAX_FALLBACK, Peers as Addresses, Width, has_ports};
use bartizan_policy::{Compiled, Direction as Begun, Effect, Network, Policy, What};

use super::names::NamesOf;
use super::verdict::{Found, Peers, decide};

/// Most decisions for one guest.
const DECISIONS: usize = 1024;
/// Most time for one guest: decisions by rules that look at many fields take long, and nobody is answered meanwhile.
const TIME: Duration = Duration::from_secs(1);
/// TCP, UDP, ICMP, ICMPv6, SCTP, UDP-Lite, DCCP (IANA): what is used most first, in case not all can be looked at.
const PROTOCOLS: [u8; 7] = [6, 17, 1, 58, 132, 136, 33];

/// The flows of a guest that may begin while nobody can decide, as wide as they were decided on: [`MAX_FALLBACK`] at most.
pub(super) fn of<'p>(
    policies: impl Iterator<Item = &'p Policy>,
    compiled: &Compiled,
    peers: &Peers<'_>,
) -> Vec<Width> {
    let mut search = Search {
        compiled,
        peers,
        found: Vec::new(),
        left: DECISIONS,
        until: Instant::now() + TIME,
    };
    let rules = policies.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    for (policy, rule) in rules {
        let unavailable = rule.on_unavailable.unwrap_or(policy.on_unavailable);
        if let What::Network(network) = &rule.what
            && rule.effect == Effect::Allow
            && unavailable == Effect::Allow
            && search.rule(network).is_err()
        {
            break;
        }
    }
    search.found
}

/// Nothing further is looked for.
struct Enough;

struct Search<'s> {
    compiled: &'s Compiled,
    peers: &'s Peers<'s>,
    found: Vec<Width>,
    left: usize,
    until: Instant,
}

/// What flows are looked for.
#[derive(Clone, Copy)]
struct Wanted {
    direction: Direction,
    protocol: u8,
    outside: bool,
}

/// Addresses of one family, from the first to the last.
#[derive(Clone, Copy)]
struct Span {
    is_v4: bool,
    first: u128,
    last: u128,
}

/// What a protocol tells flows apart by.
#[derive(Clone, Copy)]
enum Number {
    Port(u16),
    IcmpType(u8),
    Nothing,
}

impl Search<'_> {
    fn rule(&mut self, network: &Network) -> Result<(), Enough> {
        self.has_time()?;
        let spans = self.spans(network);
        let protocols = network.protocols.as_ref().map_or_else(
            || PROTOCOLS.to_vec(),
            |protocols| {
                let each: BTreeSet<_> = protocols.iter().map(|one| one.number()).collect();
                each.into_iter().collect()
            },
        );
        for protocol in protocols {
            let numbers = numbers(protocol, network);
            for (begun, direction) in [
                (Begun::Ingress, Direction::Ingress),
                (Begun::Egress, Direction::Egress),
            ] {
                if network.direction.is_some_and(|only| only != begun) {
                    continue;
                }
                for span in spans.iter().filter(|span| span.carries(protocol)) {
                    self.span(direction, protocol, *span, &numbers)?;
                }
            }
        }
        Ok(())
    }

    /// Where the other end of a rule's flows may be: guests where it is about guests.
    fn spans(&self, network: &Network) -> Vec<Span> {
        let peer = &network.peer;
        if peer.roles.is_some() || !peer.labels.is_empty() {
            return self.peers.addresses().map(Span::exactly).collect();
        }
        match &peer.addresses {
            Some(networks) => networks
                .iter()
                .map(|network| {
                    let (first, last) = network.bounds();
                    let is_v4 = network.is_v4();
                    Span { is_v4, first, last }
                })
                .collect(),
            None => vec![Span::all(true), Span::all(false)],
        }
    }

    /// Who is outside is looked for by himself where it matters who it is.
    fn span(
        &mut self,
        direction: Direction,
        protocol: u8,
        span: Span,
        numbers: &[(Number, Number)],
    ) -> Result<(), Enough> {
        let mut wanted = Wanted {
            direction,
            protocol,
            outside: false,
        };
        if self.look(wanted, span, numbers)? {
            wanted.outside = true;
            self.look(wanted, span, numbers)?;
        }
        Ok(())
    }

    /// Returns whether it matters who is outside.
    fn look(
        &mut self,
        wanted: Wanted,
        span: Span,
        numbers: &[(Number, Number)],
    ) -> Result<bool, Enough> {
        let mut matters = false;
        let mut address = Some(span.first);
        while let Some(first) = address.filter(|first| *first <= span.last) {
            // How far everything that is found there holds.
            let mut last = span.last;
            for (start, end) in numbers {
                let mut number = Some(*start);
                while let Some(present) = number.filter(|present| present.is_within(end)) {
                    // INVARIANT: a span's addresses are of its family.
                    let peer = span.address(first).ok_or(Enough)?;
                    let flow = present.of(wanted, peer);
                    let width = self.decide(&flow)?;
                    matters |= width.outside.is_some();
                    last = last.min(width.peers.map_or(last, last_of));
                    number = present.beyond(&width);
                }
            }
            address = match last == first && !wanted.outside {
                // Likely not the only one of its network where it matters which guest has an address.
                true => self.next_known(span, first),
                false => last.checked_add(1),
            };
        }
        Ok(matters)
    }

    /// Where to look after one address: nobody is known at its neighbours up to the next guest's, or to the end of its network.
    fn next_known(&self, span: Span, one: u128) -> Option<u128> {
        let near = self.peers.network?;
        let end = span
            .address(one)
            .and_then(|address| near.near(address))
            .map_or(one, |(_, last)| number(last).1);
        let known = self.peers.addresses().map(number);
        let known = known.filter(|(is_v4, known)| *is_v4 == span.is_v4 && *known > one);
        let beyond = end.checked_add(1).into_iter();
        known.map(|(_, known)| known).chain(beyond).min()
    }

    fn has_time(&self) -> Result<(), Enough> {
        if Instant::now() < self.until {
            Ok(())
        } else {
            Err(Enough)
        }
    }

    /// Decides on a flow.
    fn decide(&mut self, flow: &Flow) -> Result<Width, Enough> {
        self.has_time()?;
        self.left = self.left.checked_sub(1).ok_or(Enough)?;
        let names = NamesOf::unknown();
        let Found {
            decision, width, ..
        } = decide(flow, self.compiled, self.peers, &names);
        if decision.unavailable == Effect::Allow && !self.found.contains(&width) {
            self.keep(width);
        }
        Ok(width)
    }

    /// Where there are too many, the widest are kept: others are of one address each, where it matters which guest has it.
    fn keep(&mut self, width: Width) {
        if self.found.len() < MAX_FALLBACK {
            self.found.push(width);
            return;
        }
        let narrowest = self.found.iter_mut().min_by_key(|width| addresses(width));
        if let Some(narrowest) = narrowest.filter(|other| addresses(other) < addresses(&width)) {
            *narrowest = width;
        }
    }
}

impl Span {
    fn exactly(address: IpAddr) -> Self {
        let (is_v4, number) = number(address);
        let (first, last) = (number, number);
        Self { is_v4, first, last }
    }

    const fn all(is_v4: bool) -> Self {
        let last = if is_v4 { u32::MAX as u128 } else { u128::MAX };
        Self {
            is_v4,
            first: 0,
            last,
        }
    }

    /// ICMP is of one family each.
    const fn carries(&self, protocol: u8) -> bool {
        match protocol {
            1 => self.is_v4,
            58 => !self.is_v4,
            _ => true,
        }
    }

    fn address(&self, number: u128) -> Option<IpAddr> {
        match self.is_v4 {
            true => u32::try_from(number)
                .ok()
                .map(|bits| Ipv4Addr::from_bits(bits).into()),
            false => Some(Ipv6Addr::from_bits(number).into()),
        }
    }
}

impl Number {
    const fn of(self, wanted: Wanted, peer: IpAddr) -> Flow {
        let (port, icmp_type) = match self {
            Self::Port(port) => (Some(port), None),
            Self::IcmpType(kind) => (None, Some(kind)),
            Self::Nothing => (None, None),
        };
        Flow {
            direction: wanted.direction,
            protocol: wanted.protocol,
            peer,
            port,
            icmp_type,
            outside: wanted.outside,
        }
    }

    const fn is_within(self, end: &Self) -> bool {
        match (self, end) {
            (Self::Port(port), Self::Port(last)) => port <= *last,
            (Self::IcmpType(kind), Self::IcmpType(last)) => kind <= *last,
            _ => true,
        }
    }

    /// The first of which something else may hold.
    fn beyond(self, width: &Width) -> Option<Self> {
        match self {
            Self::Port(_) => width.ports?.1.checked_add(1).map(Self::Port),
            Self::IcmpType(_) => width.icmp_types?.1.checked_add(1).map(Self::IcmpType),
            Self::Nothing => None,
        }
    }
}

/// The first and the last of each range that a rule gives.
fn numbers(protocol: u8, network: &Network) -> Vec<(Number, Number)> {
    let ports = |first, last| (Number::Port(first), Number::Port(last));
    let types = |first, last| (Number::IcmpType(first), Number::IcmpType(last));
    match (protocol, &network.ports, &network.icmp_types) {
        (protocol, Some(ranges), _) if has_ports(protocol) => ranges
            .iter()
            .map(|range| ports(range.first(), range.last()))
            .collect(),
        (protocol, None, _) if has_ports(protocol) => vec![ports(0, u16::MAX)],
        (1 | 58, _, Some(ranges)) => ranges
            .iter()
            .map(|range| types(range.first(), range.last()))
            .collect(),
        (1 | 58, _, None) => vec![types(0, u8::MAX)],
        _ => vec![(Number::Nothing, Number::Nothing)],
    }
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, address.to_bits().into()),
        IpAddr::V6(address) => (false, address.to_bits()),
    }
}

/// How many addresses beyond the first; of both families there are most.
fn addresses(width: &Width) -> u128 {
    match width.peers {
        None => u128::MAX,
        Some(Addresses::V4(first, last)) => (last.to_bits() - first.to_bits()).into(),
        Some(Addresses::V6(first, last)) => last.to_bits() - first.to_bits(),
    }
}

fn last_of(peers: Addresses) -> u128 {
    match peers {
        Addresses::V4(_, last) => last.to_bits().into(),
        Addresses::V6(_, last) => last.to_bits(),
    }
}

#[cfg(test)]
mod tests;
