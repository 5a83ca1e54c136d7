//! How many connections there may be, altogether and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    total: usize,
    per_address: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    shared: Arc<Shared>,
}

impl Admission {
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                total,
                per_address,
                open: Mutex::default(),
            }),
        }
    }

    /// A place for a connection from `address`; `None` if there are too many.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= self.shared.total {
            return None;
        }
        let of_address = open.entry(address).or_default();
        if *of_address >= self.shared.per_address {
            return None;
        }
        *of_address += 1;
        Some(Place {
            address,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let admission = Admission::new(3, 2);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(mapped).unwrap();
        assert!(admission.admit(one).is_none());
        let _third = admission.admit(two).unwrap();
        assert!(admission.admit(two).is_none());
        drop(first);
        let _again = admission.admit(two).unwrap();
        assert!(admission.admit(one).is_none());
    }
}
