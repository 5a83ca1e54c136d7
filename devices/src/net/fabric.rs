//! Who is on which segment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bartizan_local::admission::Interface;

use super::flow::Numbers;
use super::frame::Mac;
use super::guard;
use super::inbox::Inbox;

/// All segments of this host, and who decides on their flows.
#[derive(Debug, Default)]
pub struct Fabric {
    segments: Mutex<HashMap<String, Arc<Segment>>>,
    /// For the questions of all guests.
    pub numbers: Numbers,
}

/// Guests that may reach one another, as far as policies let them.
#[derive(Debug, Default)]
pub struct Segment(RwLock<HashMap<Mac, Arc<Station>>>);

/// A guest's network device, for others.
#[derive(Debug)]
pub struct Station {
    /// What it is.
    pub interface: Interface,
    /// What others have for it.
    pub inbox: Inbox,
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
    /// Another station has its addresses.
    #[error("another device on segment `{0}` has that MAC or IP address")]
    Taken(String),
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] std::io::Error),
}

impl Fabric {
    /// Puts a device on its segment.
    pub fn plug(self: &Arc<Self>, interface: Interface) -> Result<Plug, FabricError> {
        let name = interface.segment.clone();
        let station = Arc::new(Station {
            interface,
            inbox: Inbox::new()?,
        });
        let mut segments = self.segments();
        let segment = Arc::clone(segments.entry(name.clone()).or_default());
        if !segment.add(&station) {
            return Err(FabricError::Taken(name));
        }
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
}

impl Drop for Plug {
    fn drop(&mut self) {
        let mut segments = self.fabric.segments();
        self.segment.remove(&self.station);
        if self.segment.is_empty() {
            segments.remove(&self.station.interface.segment);
        }
    }
}

impl Segment {
    /// The station of that address.
    #[must_use]
    pub fn station(&self, mac: Mac) -> Option<Arc<Station>> {
        let stations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        stations.get(&mac).cloned()
    }

    /// Whose an IP address is.
    #[must_use]
    pub fn whose(&self, address: IpAddr) -> Option<Mac> {
        let stations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = stations.iter();
        all.find_map(|(mac, station)| guard::is_own(&station.interface, address).then_some(*mac))
    }

    fn add(&self, station: &Arc<Station>) -> bool {
        let mut stations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = &station.interface;
        let mac = Mac(new.mac);
        let is_taken = |other: &Station| clash(new, &other.interface);
        if stations.values().any(|other| is_taken(other)) {
            return false;
        }
        stations.insert(mac, Arc::clone(station));
        true
    }

    fn remove(&self, station: &Arc<Station>) {
        let mut stations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        stations.remove(&Mac(station.interface.mac));
    }

    fn is_empty(&self) -> bool {
        let stations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        stations.is_empty()
    }
}

/// Whether two devices on one segment would have an address in common.
#[must_use]
pub(crate) fn clash(one: &Interface, other: &Interface) -> bool {
    let v4 = one.ipv4.map(|ip| IpAddr::V4(ip.address));
    let v6 = one.ipv6.map(|ip| IpAddr::V6(ip.address));
    let mut own = v4.into_iter().chain(v6);
    one.segment == other.segment
        && (one.mac == other.mac || own.any(|address| guard::is_own(other, address)))
}
