//! A guest that runs on this host, and the policies that rule it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bartizan_local::flow::Epoch;
use bartizan_policy::{Compiled, Guest, TooLarge, Trust};

use super::forms::{Form, Forms};
use super::names::Names;

/// A guest.
#[derive(Debug)]
pub struct WatchedGuest {
    guest: Guest,
    network: Option<Network>,
    form: Arc<Form>,
    /// What it has heard of names.
    names: Names,
    /// Goes up with what is decided about it by anything but policies.
    state: u64,
    /// What devices have confirmed: the set, and the state with it.
    confirmed: Epoch,
}

/// Where a guest is in a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// The name of its segment: guests of one segment reach one another.
    pub segment: String,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl WatchedGuest {
    /// A guest as its launch record has it, which no policy was compiled for yet.
    #[must_use]
    pub fn new(guest: Guest, network: Option<Network>) -> Self {
        Self {
            form: Arc::new(Form::of_none()),
            guest,
            network,
            names: Names::default(),
            state: 0,
            confirmed: Epoch::default(),
        }
    }

    pub(super) const fn guest(&self) -> &Guest {
        &self.guest
    }

    pub(super) const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    pub(super) fn segment(&self) -> Option<&str> {
        self.network
            .as_ref()
            .map(|network| network.segment.as_str())
    }

    /// No policy rules it any more: everything is denied.
    pub(super) fn forget(&mut self) {
        self.form = Arc::new(Form::of_none());
    }

    /// Is ruled by the policies that select it. Answers whether they are held, and were not.
    pub(super) fn is_ruled_by(&mut self, forms: &mut Forms) -> bool {
        let was_held = self.form.compiled().is_ok();
        self.form = forms.of(&self.guest);
        let Ok(compiled) = self.form.compiled() else {
            return false;
        };
        self.names.classify(compiled);
        !was_held
    }

    pub(super) const fn names(&self) -> &Names {
        &self.names
    }

    /// To be told more, by what its policies believe; none where they cannot be held together.
    pub(super) fn learning(&mut self) -> Option<(&mut Names, &Compiled)> {
        let compiled = self.form.compiled().ok()?;
        Some((&mut self.names, compiled))
    }

    /// Goes on from what was known when it was told of last.
    pub(super) fn goes_on_from(&mut self, former: Self) {
        self.is_taken_for(former.guest.trust);
        self.names = former.names;
    }

    pub(super) fn compiled(&self) -> Result<&Compiled, TooLarge> {
        self.form.compiled()
    }

    /// Whether that is something else than before.
    pub(super) fn is_taken_for(&mut self, trust: Trust) -> bool {
        std::mem::replace(&mut self.guest.trust, trust) != trust
    }

    pub(super) const fn changed(&mut self, state: u64) {
        self.state = state;
    }

    pub(super) const fn state(&self) -> u64 {
        self.state
    }

    pub(super) fn confirmed(&mut self, epoch: Epoch, set: u64) {
        if epoch.policy <= set && epoch.state <= self.state && epoch.holds_in(self.confirmed) {
            self.confirmed = epoch;
        }
    }

    pub(super) fn has_confirmed(&self, epoch: Epoch) -> bool {
        self.confirmed.holds_in(epoch)
    }

    pub(super) fn unconfirmed(&mut self) {
        self.confirmed = Epoch::default();
    }

    pub(super) const fn in_force(&self) -> u64 {
        self.confirmed.policy
    }
}

impl Network {
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }

    /// The network of the segment that an address is in, whoever has it: its first address and its last.
    pub(super) fn near(&self, address: IpAddr) -> Option<(IpAddr, IpAddr)> {
        let mut networks = self.networks();
        networks.find(|(first, last)| {
            first.is_ipv4() == address.is_ipv4() && *first <= address && address <= *last
        })
    }

    /// Those of the segment, each from its first address to its last.
    pub(super) fn networks(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        // RFC 4291 section 2.5.6: of whichever link it is.
        let link_local = (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10);
        let all = self.addresses.iter().copied().chain([link_local]);
        all.map(|(address, prefix)| match address {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let both = [address.to_bits() & !hosts, address.to_bits() | hosts];
                let [first, last] = both.map(|bits| Ipv4Addr::from_bits(bits).into());
                (first, last)
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                let both = [address.to_bits() & !hosts, address.to_bits() | hosts];
                let [first, last] = both.map(|bits| Ipv6Addr::from_bits(bits).into());
                (first, last)
            }
        })
    }
}
