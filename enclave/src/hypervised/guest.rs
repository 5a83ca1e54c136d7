//! A guest, as its operator signed it.
//!
//! Known attack: a hypervisor that was taken over gives a guest another role or address. The record is verified here, too, under the
//! fleet CA of this enclave's own configuration.

use std::net::IpAddr;

use bartizan_attestation::host::RunningGuest;
use bartizan_attestation::launch::{self, LaunchRecordError, verify_record};
use bartizan_policy::{Guest, Trust};
use uuid::Uuid;

use super::Host;
use crate::deciding::{Network, WatchedGuest};

/// A guest that cannot be what it is said to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum GuestError {
    /// Its record is no operator's.
    #[error(transparent)]
    Record(#[from] LaunchRecordError),
    /// It is of another card.
    #[error("it is said to be of another card")]
    OtherCard,
    /// Its record is another VM's.
    #[error("its launch record is of the VM {0}")]
    OtherVm(Uuid),
}

/// The guest, if its record is an operator's.
pub(super) fn verified(running: &RunningGuest, host: Host<'_>) -> Result<WatchedGuest, GuestError> {
    if running.guest.card != host.card {
        return Err(GuestError::OtherCard);
    }
    let verified = verify_record(&running.record, &host.anchors.ca(), running.ordered_at_s)?;
    let record = verified.record;
    if *record.uuid.as_bytes() != running.guest.vm {
        return Err(GuestError::OtherVm(record.uuid));
    }
    let guest = Guest {
        vm: record.uuid,
        role: record.role,
        labels: record.labels,
        trust: Trust::None,
    };
    Ok(WatchedGuest::new(guest, record.network.map(network)))
}

fn network(network: launch::Network) -> Network {
    let v4 = network.ipv4.map(|ip| (IpAddr::V4(ip.address), ip.prefix));
    let v6 = network.ipv6.map(|ip| (IpAddr::V6(ip.address), ip.prefix));
    Network {
        segment: network.segment,
        addresses: v4.into_iter().chain(v6).collect(),
    }
}
