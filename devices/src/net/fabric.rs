//! Who is on which segment.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use bartizan_local::admission::Interface;

use super::era::{Era, Senders};
use super::flow::Numbers;
use super::frame::Mac;
use super::guard;
use super::inbox::Inbox;
use super::packet::Packet;
use super::port::Directory;
use super::uplink::{self, Uplink};

/// How long a device waits for one of its addresses whose end is under way: a former boot's, as a rule.
const HANDOVER: Duration = Duration::from_secs(1);

/// All segments of this host, and who decides on their flows.
#[derive(Debug, Default)]
pub struct Fabric {
    segments: Mutex<HashMap<String, Arc<Segment>>>,
    /// By segment, the addresses of all guests that may have devices there.
    expected: Mutex<HashMap<String, Arc<HashSet<IpAddr>>>>,
    /// By segment, whether there is a guest on it or not.
    uplinks: HashMap<String, Arc<Uplink>>,
    /// A station left its segment.
    left: Condvar,
    /// For the questions of all guests.
    pub numbers: Numbers,
}

/// Guests that may reach one another, as far as policies let them.
#[derive(Debug, Default)]
pub struct Segment(RwLock<Arc<Stations>>);

/// Who is there, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Stations {
    by_mac: HashMap<Mac, Arc<Station>>,
    /// Of each address: whose it is.
    by_address: HashMap<IpAddr, Mac>,
    /// Those of guests that may have devices here, whether they do just then or not.
    expected: Arc<HashSet<IpAddr>>,
    uplink: Option<Arc<Uplink>>,
}

/// A guest's network device, for others.
#[derive(Debug)]
pub struct Station {
    /// What it is.
    pub interface: Interface,
    /// What others have for it.
    pub inbox: Inbox,
    /// Which of what it has sent may still leave.
    pub era: Era,
}

/// A station's place on its segment, given back when dropped.
#[derive(Debug)]
pub struct Plug {
    fabric: Arc<Fabric>,
    segment: Arc<Segment>,
    station: Arc<Station>,
}

/// A device cannot be put on its segment.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// Another station has its addresses, or they are of what is outside.
    #[error("another device on segment `{0}`, or its uplink, has that MAC or IP address")]
    Taken(String),
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] std::io::Error),
}

impl Fabric {
    /// One whose segments of these names have these uplinks.
    #[must_use]
    pub fn with_uplinks(uplinks: &[Arc<Uplink>]) -> Self {
        let by_segment = |uplink: &Arc<Uplink>| {
            let segment = uplink.settings.segment.clone();
            (segment, Arc::clone(uplink))
        };
        Self {
            uplinks: uplinks.iter().map(by_segment).collect(),
            ..Self::default()
        }
    }

    /// From now on these may have devices, and nobody else: nobody outside has an address of theirs.
    ///
    /// Known attack: somebody outside takes a guest's address while that guest has no device, and is known by it.
    pub fn expect<'i>(&self, interfaces: impl Iterator<Item = &'i Interface>) {
        let mut by_segment = HashMap::<String, HashSet<IpAddr>>::new();
        for interface in interfaces {
            let expected = by_segment.entry(interface.segment.clone()).or_default();
            expected.extend(addresses(interface));
        }
        let by_segment = by_segment.into_iter();
        let expected = by_segment.map(|(segment, addresses)| (segment, Arc::new(addresses)));
        let segments = self.segments();
        let mut known = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        *known = expected.collect();
        for (name, segment) in segments.iter() {
            segment.expect(known.get(name).cloned().unwrap_or_default());
        }
    }

    /// Who is on a segment now.
    #[must_use]
    pub fn stations(&self, segment: &str) -> Arc<Stations> {
        let segment = self.segments().get(segment).cloned();
        segment
            .map(|segment| segment.stations())
            .unwrap_or_default()
    }

    /// Puts a device on its segment. Waits shortly where another has one of its addresses that may be about to end.
    pub fn plug(self: &Arc<Self>, interface: Interface) -> Result<Plug, FabricError> {
        let name = interface.segment.clone();
        let uplink = self.uplinks.get(&name);
        let station = Arc::new(Station {
            interface: match uplink {
                Some(uplink) => uplink.complete(interface),
                None => interface,
            },
            inbox: Inbox::new()?,
            era: Era::default(),
        });
        let mut added = None;
        let is_taken = |segments: &mut HashMap<String, Arc<Segment>>| {
            let segment = segments.entry(name.clone());
            let segment = segment.or_insert_with(|| {
                let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
                let expected = expected.get(&name).cloned().unwrap_or_default();
                Segment::with(uplink.cloned(), expected)
            });
            added = segment.add(&station).then(|| Arc::clone(segment));
            added.is_none()
        };
        let waited = self
            .left
            .wait_timeout_while(self.segments(), HANDOVER, is_taken);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        let segment = added.ok_or(FabricError::Taken(name))?;
        Ok(Plug {
            fabric: Arc::clone(self),
            segment,
            station,
        })
    }

    fn segments(&self) -> MutexGuard<'_, HashMap<String, Arc<Segment>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plug {
    /// The device.
    #[must_use]
    pub const fn station(&self) -> &Arc<Station> {
        &self.station
    }

    /// Where it is.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The DNS servers outside whose answers may count.
    pub(super) fn resolvers_outside(&self) -> Vec<IpAddr> {
        let uplink = self.segment.read().uplink.clone();
        uplink.map_or_else(Vec::new, |uplink| uplink.settings.resolvers.clone())
    }

    /// Sends packets of its outside; returns how many there was no room for.
    pub fn send_outside(&self, packets: impl IntoIterator<Item = Packet>) -> u64 {
        self.segment.send_outside(&self.station, packets)
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        // First: it waits for receivers, and who holds all segments waits for nobody.
        self.station.era.end();
        let mut segments = self.fabric.segments();
        self.segment.remove(&self.station);
        if self.segment.is_empty() {
            segments.remove(&self.station.interface.segment);
        }
        drop(segments);
        self.fabric.left.notify_all();
    }
}

impl Segment {
    fn with(uplink: Option<Arc<Uplink>>, expected: Arc<HashSet<IpAddr>>) -> Arc<Self> {
        let stations = Stations {
            uplink,
            expected,
            ..Stations::default()
        };
        Arc::new(Self(RwLock::new(Arc::new(stations))))
    }

    fn expect(&self, expected: Arc<HashSet<IpAddr>>) {
        Arc::make_mut(&mut self.write()).expected = expected;
    }

    /// Puts packets for outside where its uplink takes them; returns how many there was no room for.
    fn send_outside(&self, from: &Arc<Station>, packets: impl IntoIterator<Item = Packet>) -> u64 {
        let uplink = self.read().uplink.clone();
        uplink.map_or(0, |uplink| uplink.outbox.put(from, packets))
    }

    /// The station of that address.
    #[must_use]
    pub fn station(&self, mac: Mac) -> Option<Arc<Station>> {
        self.read().by_mac.get(&mac).cloned()
    }

    /// Who is there now.
    #[must_use]
    pub fn stations(&self) -> Arc<Stations> {
        Arc::clone(&self.read())
    }

    /// Returns whether none has one of its addresses, and it is there now.
    fn add(&self, station: &Arc<Station>) -> bool {
        let mut stations = self.write();
        let stations = Arc::make_mut(&mut stations);
        let (mac, addresses) = (Mac(station.interface.mac), addresses(&station.interface));
        let is_taken = addresses
            .iter()
            .any(|address| stations.by_address.contains_key(address));
        let uplink = stations.uplink.as_ref();
        let is_outside = uplink.is_some_and(|uplink| uplink.has(mac, &addresses));
        if is_taken || is_outside || stations.by_mac.contains_key(&mac) {
            return false;
        }
        let by_address = addresses.into_iter().map(|address| (address, mac));
        stations.by_address.extend(by_address);
        stations.by_mac.insert(mac, Arc::clone(station));
        true
    }

    fn remove(&self, station: &Arc<Station>) {
        let mut stations = self.write();
        let stations = Arc::make_mut(&mut stations);
        stations.by_mac.remove(&Mac(station.interface.mac));
        for address in addresses(&station.interface) {
            stations.by_address.remove(&address);
        }
    }

    fn is_empty(&self) -> bool {
        self.read().by_mac.is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, Arc<Stations>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Arc<Stations>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for Segment {
    fn whose(&self, address: IpAddr) -> Option<Mac> {
        self.read().whose(address)
    }

    fn is_guests(&self, address: IpAddr) -> bool {
        self.read().is_guests(address)
    }

    fn still_lets_pass(&self, packet: &Packet) -> bool {
        self.stations().still_let_pass(packet)
    }
}

impl Stations {
    /// Whose an IP address is: of what is outside, where there is an uplink, each that is no guest's.
    #[must_use]
    pub fn whose(&self, address: IpAddr) -> Option<Mac> {
        let station = self.station_at(address);
        let is_outside = || {
            let may_be = self.uplink.is_some() && uplink::is_outside(address);
            may_be && !self.expected.contains(&address)
        };
        station.or_else(|| is_outside().then_some(uplink::GATE))
    }

    /// The Ethernet address of the guest that has that IP address.
    #[must_use]
    pub fn station_at(&self, address: IpAddr) -> Option<Mac> {
        self.by_address.get(&address).copied()
    }

    /// Whether that IP address is a guest's, whether it has a device just then or not.
    #[must_use]
    pub fn is_guests(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address) || self.expected.contains(&address)
    }

    /// The guest that has that Ethernet address.
    #[must_use]
    pub fn station(&self, mac: Mac) -> Option<&Arc<Station>> {
        self.by_mac.get(&mac)
    }

    /// Whether what a packet was let pass by on its sender's side still holds.
    #[must_use]
    pub fn still_let_pass(&self, packet: &Packet) -> bool {
        Senders::of(self).still_let_pass(packet)
    }
}

/// All addresses of a device, as [`guard::is_own`] says.
fn addresses(interface: &Interface) -> Vec<IpAddr> {
    let v4 = interface.ipv4.map(|ip| IpAddr::V4(ip.address));
    let v6 = interface.ipv6.map(|ip| IpAddr::V6(ip.address));
    let local = IpAddr::V6(guard::link_local(Mac(interface.mac)));
    [v4, v6, Some(local)].into_iter().flatten().collect()
}

/// Whether two devices on one segment would have an address in common.
#[must_use]
pub(crate) fn clash(one: &Interface, other: &Interface) -> bool {
    let mut own = addresses(one).into_iter();
    one.segment == other.segment
        && (one.mac == other.mac || own.any(|address| guard::is_own(other, address)))
}

#[cfg(test)]
mod tests;
