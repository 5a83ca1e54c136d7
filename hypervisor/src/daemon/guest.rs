//! One running guest, as the daemon knows it.

use std::sync::{Arc, Mutex, PoisonError};

use bartizan_attestation::certificates::{FleetCa, Usage, verify_chain};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::host::GuestStatus;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::keys::Chain;
use bartizan_attestation::launch::LaunchRecord;
use bartizan_attestation::measurement::{Digest, Refusal};
use tokio::net::UnixStream;

use super::link::{CardLink, SupervisorLink};
use crate::api::Budget;

/// One guest in one boot.
#[derive(Debug)]
pub struct Guest {
    /// Who it is.
    pub identity: GuestIdentity,
    /// Its launch measurement.
    pub launch_measurement: Digest,
    /// What it was started from.
    pub record: LaunchRecord,
    /// Its vsock CID.
    pub cid: u32,
    /// Its supervisor.
    pub supervisor: SupervisorLink,
    /// The host's card.
    pub card: CardLink,
    /// What it may still ask for.
    pub budget: Arc<Budget>,
    enrolled: Mutex<Option<Enrolled>>,
    fleet_ca: Arc<FleetCa>,
    devices_uid: u32,
}

/// A guest's enrolled key.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its certificate chain.
    pub chain: Chain,
    /// The key.
    pub key: PublicKey,
}

impl Guest {
    /// The guest that a supervisor describes; its record was verified when it was started.
    pub(super) fn new(
        status: GuestStatus,
        record: LaunchRecord,
        supervisor: SupervisorLink,
        card: CardLink,
        fleet_ca: Arc<FleetCa>,
        devices_uid: u32,
    ) -> Self {
        let guest = Self {
            identity: status.guest,
            launch_measurement: status.launch_measurement,
            budget: Budget::new(record.budget),
            cid: status.cid,
            record,
            supervisor,
            card,
            enrolled: Mutex::default(),
            fleet_ca,
            devices_uid,
        };
        if let Some(enrollment) = status.enrollment
            && let Err(error) = guest.enrolled(&enrollment.chain)
        {
            tracing::warn!(guest = %guest.identity, %error, "the enrolled key is no longer valid");
        }
        guest
    }

    /// Whether the peer of a connection to this guest's API is the devices process.
    pub fn admits(&self, stream: &UnixStream) -> bool {
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.devices_uid)
    }

    /// The enrolled key, once there is one in this boot.
    pub fn enrollment(&self) -> Option<Enrolled> {
        self.enrolled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes note of the enrolled key.
    pub fn enrolled(&self, chain: &Chain) -> Result<(), Refusal> {
        let certificates: Vec<_> = chain
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect();
        let verified = verify_chain(
            &certificates,
            &self.fleet_ca,
            super::registry::unix_now(),
            Usage::GuestKey,
        )
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let enrolled = Enrolled {
            chain: chain.clone(),
            key: verified.public_key,
        };
        *self.enrolled.lock().unwrap_or_else(PoisonError::into_inner) = Some(enrolled);
        Ok(())
    }
}
