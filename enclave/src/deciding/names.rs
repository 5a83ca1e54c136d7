//! The names of addresses, as a guest has heard them from servers that its policies believe.
//!
//! ```text
//!                 learn (address, name, TTL)                              a flow that began then is decided by it
//!   a pair ─── nothing ──────────────────► known ── its time is over ──► past ── a day, or no room ──► nothing
//!                                            ▲ └── a rule is about it: what was decided before is asked about again
//!                                            └──────── learnt again ──────┘
//! ```
//!
//! A flow is decided by the names that its other end has had since it began: a name that ends while a connection goes on does not end it,
//! and no other begins by it.
//!
//! Known attack: a guest ends, and somebody outside takes its address with the name that was the guest's. Of each name it is known whether
//! a guest had the address when that was learnt.
//!
//! Known attack: whoever has a domain answers with addresses without end, so that other names are forgotten. What no rule is about goes
//! first, and among the rest those whose class has the most.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_local::flow::{MAX_NAMED, Resolved};
use bartizan_policy::{Compiled, MAX_NAMES, NameClass};

/// Most pairs of a name and an address of one guest.
const MOST: usize = 512;
/// From so many on, of all guests together, a guest's next one takes the place of another of its own, but for the first few.
///
/// Known attack: many guests, each of which hears as many as it may, have the enclave run out of memory.
const MANY: usize = 1 << 16;
const FEW: usize = 16;
/// Least and most that a name is known for. Known attack: an answer that holds for no time has its guest ask without end, and one that holds
/// for ever keeps an address that is long another's.
const LEAST_TTL: Duration = Duration::from_secs(60);
const MOST_TTL: Duration = Duration::from_secs(24 * 3600);
/// For how long it is known that a name was, beyond its time.
const PAST: Duration = Duration::from_secs(24 * 3600);
/// Most bytes of a name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// More names than are looked at: those of the address are not known.
const UNKNOWN: [&str; MAX_NAMES + 1] = [""; MAX_NAMES + 1];

/// Those of one guest.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_address: BTreeMap<IpAddr, BTreeMap<Arc<str>, Known>>,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    until: Instant,
    /// Who said so last.
    resolver: IpAddr,
    class: Option<NameClass>,
    /// Whether the address was a guest's then, or may have been.
    of_guest: bool,
}

/// The names by which a flow is decided.
#[derive(Clone, Debug)]
pub(super) struct NamesOf<'n> {
    names: Vec<&'n str>,
    /// When the first of them ends, or ended.
    pub(super) until: Option<Instant>,
}

/// Why an answer is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotBelieved {
    /// Of a guest that nobody told of, or whose policies cannot be held together.
    #[error("nothing is decided on the guest")]
    NoGuest,
    /// No policy believes the server, or not all that need to.
    #[error("the guest's policies do not believe that server")]
    Server,
    /// It is no host's name.
    #[error("the name is no host's")]
    Name,
    /// More addresses than are told.
    #[error("more than {MAX_NAMED} addresses")]
    Addresses,
}

impl Names {
    /// Takes what an answer says, of whose addresses these are guests', while all guests together have so many pairs. Returns whether what was
    /// decided of its addresses may be otherwise now.
    pub(super) fn learn(
        &mut self,
        resolved: &Resolved,
        guests: &[IpAddr],
        of_all: usize,
        compiled: &Compiled,
        now: Instant,
    ) -> Result<bool, NotBelieved> {
        if !compiled.resolvers().contains(&resolved.resolver) {
            return Err(NotBelieved::Server);
        }
        if !is_host(&resolved.name) {
            return Err(NotBelieved::Name);
        }
        if resolved.addresses.len() > MAX_NAMED {
            return Err(NotBelieved::Addresses);
        }
        let name: Arc<str> = resolved.name.as_str().into();
        let ttl = Duration::from_secs(resolved.ttl_s.into()).clamp(LEAST_TTL, MOST_TTL);
        // What came before this clock began is long past.
        let came = now.checked_sub(Duration::from_secs(resolved.since_s));
        let until = came.and_then(|came| came.checked_add(ttl));
        let Some(until) = until.filter(|until| now < *until + PAST) else {
            return Ok(false);
        };
        let class = compiled.name_class(&name);
        let most = if of_all < MANY { MOST } else { FEW };
        let mut anew = false;
        for address in &resolved.addresses {
            let known = Known {
                until,
                resolver: resolved.resolver,
                class,
                of_guest: guests.contains(address),
            };
            let was_known = self.add(*address, &name, known, most, now);
            anew |= class.is_some() && !was_known;
        }
        Ok(anew)
    }

    /// Returns whether it was known, and is no more than extended.
    fn add(
        &mut self,
        address: IpAddr,
        name: &Arc<str>,
        known: Known,
        most: usize,
        now: Instant,
    ) -> bool {
        if let Some(former) = self
            .by_address
            .get_mut(&address)
            .and_then(|of| of.get_mut(name))
        {
            let was_known = now < former.until && former.of_guest == known.of_guest;
            former.of_guest = known.of_guest;
            former.until = former.until.max(known.until);
            former.resolver = known.resolver;
            return was_known;
        }
        if self.count >= most {
            self.make_room(most, now);
        }
        let of = self.by_address.entry(address).or_default();
        of.insert(Arc::clone(name), known);
        self.count += 1;
        false
    }

    /// Rules are about other names now, and believe other servers.
    pub(super) fn classify(&mut self, compiled: &Compiled) {
        let believed = compiled.resolvers();
        self.retain(|known| believed.contains(&known.resolver));
        for (name, known) in self.by_address.values_mut().flatten() {
            known.class = compiled.name_class(name);
        }
    }

    /// Whether an address has a name that was learnt while a guest had it.
    pub(super) fn are_guests(&self, address: IpAddr) -> bool {
        let mut of = self.by_address.get(&address).into_iter().flatten();
        of.any(|(_, known)| known.of_guest)
    }

    /// The names that the rules tell apart, of those that an address has had for so long.
    pub(super) fn of(&self, address: IpAddr, since: Duration, now: Instant) -> NamesOf<'_> {
        let mut by_class = BTreeMap::new();
        for (name, known) in self.by_address.get(&address).into_iter().flatten() {
            let ends = known.until.checked_add(since);
            let (Some(class), true) = (known.class, ends.is_none_or(|ends| now < ends)) else {
                continue;
            };
            let best = by_class
                .entry(class)
                .or_insert((known.until, name.as_ref()));
            *best = (*best).max((known.until, name.as_ref()));
        }
        NamesOf {
            until: by_class.values().map(|(until, _)| *until).min(),
            names: by_class.into_values().map(|(_, name)| name).collect(),
        }
    }

    /// The addresses that have names which some rule is about.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let named = self.by_address.iter().filter(|(_, of)| {
            let mut all = of.values();
            all.any(|known| known.class.is_some())
        });
        named.map(|(address, _)| *address)
    }

    /// Forgets what is long past, or else one.
    fn make_room(&mut self, most: usize, now: Instant) {
        self.retain(|known| now < known.until + PAST);
        if self.count >= most {
            self.forget_one(now);
        }
    }

    fn retain(&mut self, keeps: impl Fn(&Known) -> bool) {
        self.by_address.retain(|_, of| {
            of.retain(|_, known| keeps(known));
            !of.is_empty()
        });
        self.count = self.by_address.values().map(BTreeMap::len).sum();
    }

    /// One that no rule is about, else one that is past, else one of the class that has the most: of several the one that ends first.
    fn forget_one(&mut self, now: Instant) {
        let mut sizes = BTreeMap::<NameClass, usize>::new();
        let all = || {
            self.by_address
                .iter()
                .flat_map(|(at, of)| of.iter().map(move |one| (at, one)))
        };
        for class in all().filter_map(|(_, (_, known))| known.class) {
            *sizes.entry(class).or_default() += 1;
        }
        let worth = |known: &Known| {
            let size = known.class.and_then(|class| sizes.get(&class));
            let others = MOST - size.copied().unwrap_or(0);
            (
                known.class.is_some(),
                now < known.until,
                others,
                known.until,
            )
        };
        let least = all().min_by_key(|(_, (_, known))| worth(known));
        let Some((address, name)) = least.map(|(at, (name, _))| (*at, Arc::clone(name))) else {
            return;
        };
        if let Some(of) = self.by_address.get_mut(&address) {
            of.remove(&name);
            if of.is_empty() {
                self.by_address.remove(&address);
            }
            self.count -= 1;
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }
}

impl<'n> NamesOf<'n> {
    /// Those of an address of which they are not known: rules by names that allow do not match, and all that deny do.
    pub(super) fn unknown() -> Self {
        Self {
            names: UNKNOWN.to_vec(),
            until: None,
        }
    }

    /// As a request has them.
    pub(super) fn names(&self) -> &[&'n str] {
        &self.names
    }
}

/// A name as hosts have it, though with `_`: labels of letters in lower case, digits and these.
fn is_host(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
