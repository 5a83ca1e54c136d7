//! One running guest, as the daemon knows it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_attestation::certificates::Lineage;
use bartizan_attestation::host::{Enrollment, GuestStatus};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::launch::LaunchRecord;
use bartizan_attestation::measurement::{Digest, Refusal};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::anchors::Anchors;
use super::keys::{Enrolled, Keys};
use super::link::{CardLink, LinkError, SupervisorLink};
use crate::api::Budget;
use crate::clock::{unix_now, unix_now_ms};

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
    /// Whose turn it is to have a signature verified.
    pub(crate) verifying: Arc<Semaphore>,
    keys: Mutex<Option<Keys>>,
    anchors: Arc<Anchors>,
    devices_uid: u32,
}

impl Guest {
    /// The guest that a supervisor describes; it is the one that was started, and its record was verified.
    pub(super) fn new(
        status: GuestStatus,
        record: LaunchRecord,
        supervisor: SupervisorLink,
        card: CardLink,
        anchors: Arc<Anchors>,
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
            verifying: Arc::new(Semaphore::new(1)),
            keys: Mutex::default(),
            anchors,
            devices_uid,
        };
        if let Some(enrollment) = status.enrollment
            && let Err(error) = guest.enrolled(&enrollment)
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

    /// The fleet's CAs, as the card tells them now.
    pub async fn fleet_cas(&self) -> Result<Lineage, LinkError> {
        let told = self.card.host().await?.fleet_cas;
        self.anchors.learn(&told).await;
        Ok(told)
    }

    /// The certificate (DER) of the CA that this guest was launched to trust, as far as it is of the fleet.
    pub fn pinned(&self) -> Option<Vec<u8>> {
        let ca = self.anchors.ca();
        let pinned = ca.named(&self.record.fleet_ca_sha256, unix_now());
        pinned.map(<[u8]>::to_vec)
    }

    /// What is enrolled, once a key is in this boot.
    pub fn enrollment(&self) -> Option<Enrollment> {
        let keys = self.keys();
        keys.as_ref().map(|keys| keys.enrollment.clone())
    }

    /// The keys that sign for this guest now: the enrolled one first, then one that it replaced a while ago.
    pub fn signers(&self) -> Vec<Enrolled> {
        let keys = self.keys();
        keys.as_ref()
            .map_or_else(Vec::new, |keys| keys.valid(unix_now_ms()))
    }

    /// Takes note of what the supervisor keeps as enrolled.
    pub fn enrolled(&self, enrollment: &Enrollment) -> Result<(), Refusal> {
        let keys = Keys::verify(enrollment, &self.anchors.ca(), unix_now())
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        *self.keys() = Some(keys);
        Ok(())
    }

    /// Takes note of what an event of the supervisor's says is enrolled; it may be older than what is known.
    pub(super) fn heard(&self, enrollment: &Enrollment) {
        let known = |keys: &Keys| keys.enrollment == *enrollment || keys.supersedes(enrollment);
        if !self.keys().as_ref().is_some_and(known)
            && let Err(error) = self.enrolled(enrollment)
        {
            tracing::warn!(guest = %self.identity, %error, "the enrolled key is not valid");
        }
    }

    fn keys(&self) -> MutexGuard<'_, Option<Keys>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
