//! The guests of this host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bartizan_attestation::certificates::{ChainError, FleetCa};
use bartizan_attestation::host::{Enrollment, GuestStatus, OperatorRefusal};
use bartizan_attestation::launch::VerifiedRecord;
use uuid::Uuid;

use super::admissions::{Admissions, Keeper};
use super::alone::Alone;
use super::anchors::Anchors;
use super::backoff::Backoff;
use super::config::Config;
use super::enclave::EnclavePresence;
use super::ended::has_ended;
use super::guest::Guest;
use super::keys::Keys;
use super::launch::{self, Order};
use super::link::{CardLink, LinkError, SupervisorLink};
use super::notes::Notes;
use super::pending::Pending;
use super::places::{Known, Place, Places, Taken};
use super::running::Running;
use super::started::{Started, StartedError};
use super::watch::follow;
use crate::clock::unix_now;
use crate::supervisor::config::SOCKET;

/// All guests, by UUID.
pub(super) struct Registry {
    pub(super) config: Config,
    pub(super) card: CardLink,
    pub(super) anchors: Arc<Anchors>,
    pub(super) admissions: Admissions,
    pub(super) notes: Notes,
    pub(super) running: Running,
    /// The link to the enclave.
    pub(super) enclave: EnclavePresence,
    places: Mutex<Places>,
    backoff: Mutex<Backoff>,
    _alone: Alone,
}

impl Registry {
    /// With what keeps its guests admitted at devices, to be run once those that run already are.
    pub(super) async fn new(config: Config) -> anyhow::Result<(Self, Keeper)> {
        let alone = Alone::take(&config.run_dir).await?;
        let fleet_ca = FleetCa::from_pem_or_der(&std::fs::read(&config.fleet_ca)?)?;
        std::fs::create_dir_all(config.run_dir.join("guests"))?;
        let card = CardLink::new(config.card_socket.clone());
        let (admissions, keeper) = Admissions::new(config.devices_socket.clone());
        let registry = Self {
            anchors: Arc::new(Anchors::new(&fleet_ca, card.clone())),
            card,
            admissions,
            notes: Notes::new(config.started()),
            running: Running::default(),
            enclave: EnclavePresence::default(),
            places: Mutex::default(),
            backoff: Mutex::default(),
            _alone: alone,
            config,
        };
        Ok((registry, keeper))
    }

    pub(super) fn len(&self) -> usize {
        self.places().len()
    }

    /// Starts a guest that an operator ordered.
    pub(super) async fn start(
        self: &Arc<Self>,
        order: Order,
    ) -> Result<GuestStatus, OperatorRefusal> {
        let pending = Pending::new(&order.verified.record);
        self.backoff().forget(pending.vm);
        let cid = self
            .places()
            .reserve(&pending)
            .map_err(|taken| match taken {
                Taken::Guest => OperatorRefusal::AlreadyRunning(pending.name.clone()),
                Taken::Address(other) => OperatorRefusal::BadRecord(format!(
                    "VM `{other}` has its MAC or IP address on that segment; choose another"
                )),
            })?;
        let started = self.boot(&order, &pending, cid).await;
        if started.is_err() {
            self.places().leave_starting(&pending);
        }
        started
    }

    /// One boot of a guest that has the place of one that is being started. Where it fails and has not ended, its place is one
    /// that was not heard.
    pub(super) async fn boot(
        self: &Arc<Self>,
        order: &Order,
        pending: &Arc<Pending>,
        cid: u32,
    ) -> Result<GuestStatus, OperatorRefusal> {
        let vm = pending.vm;
        let booted = match launch::start(self, order, pending, cid).await {
            Ok(()) => self
                .take_up(vm)
                .await
                .map_err(|error| OperatorRefusal::Start(error.to_string())),
            Err(refusal) => Err(refusal),
        };
        if booted.is_err() {
            // Asked while nobody else can start it.
            if has_ended(&self.config, vm) {
                self.dismiss(vm);
            } else {
                // Its start may have been late only.
                self.wait_for(vm, Some(pending));
            }
        }
        booted
    }

    /// A boot that was started before runs on: its device is admitted, and it is told of.
    pub(super) fn admit_again(&self, started: &Started) {
        self.running.runs(started);
        self.admissions
            .admit_again(started.vm(), started.admission());
    }

    /// A VM's boot has ended, or does not begin.
    pub(super) fn dismiss(&self, vm: Uuid) {
        self.running.ended(vm);
        self.admissions.dismiss(vm);
    }

    /// The guest with this name or UUID.
    pub(super) fn find(&self, name: &str) -> Result<Known, OperatorRefusal> {
        let named = |known: &Known| known.name() == name || known.vm().to_string() == name;
        self.known()
            .into_iter()
            .find(named)
            .ok_or_else(|| OperatorRefusal::UnknownVm(name.into()))
    }

    /// The guests that were started and have not ended, and those that are to be.
    pub(super) fn known(&self) -> Vec<Known> {
        self.places().known()
    }

    /// The guest that has a place, if one has.
    pub(super) fn of(&self, vm: Uuid) -> Option<Known> {
        self.places().of(vm)
    }

    /// A guest that waits to be started again does not any more; whether it did.
    pub(super) fn leave_waiting(&self, pending: &Arc<Pending>) -> bool {
        self.places().leave_waiting(pending)
    }

    /// Connects to a guest's supervisor and follows it, if its guest is the one that was started.
    pub(super) async fn take_up(self: &Arc<Self>, vm: Uuid) -> Result<GuestStatus, LinkError> {
        let started = self.notes.load(vm)?;
        let started = started.ok_or(LinkError::Impostor("VM"))?;
        let verified = self.verified(&started).await?;
        let socket = self.config.boot_dir(vm).join(SOCKET);
        let supervisor = SupervisorLink::new(socket);
        let events = supervisor.watch().await?;
        let status = supervisor.status().await?;
        claims_no_other(&status, &started, &verified.yaml)?;
        if let Some(enrollment) = &status.enrollment
            && enrollment_is_foreign(enrollment, &self.anchors.ca())
        {
            // Or it would count as not enrolled. Where the card is away, this guest is taken up later.
            self.anchors.ask().await?;
        }
        self.notes.runs_on(&started)?;
        self.admit_again(&started);
        let guest = Arc::new(Guest::new(
            status.clone(),
            verified.record,
            supervisor,
            self.card.clone(),
            Arc::clone(&self.anchors),
            self.config.devices_uid,
        ));
        self.places().put(vm, Place::Running(Arc::clone(&guest)));
        self.backoff().runs(vm, Instant::now());
        let registry = Arc::clone(self);
        tokio::spawn(async move {
            follow(Arc::clone(&guest), &registry.config, events).await;
            registry.dismiss(vm);
            registry.restart_ended(guest.identity).await;
        });
        Ok(status)
    }

    /// The record that was started from; its operator, or the anchor in it, may be of a CA of the fleet that is not known yet.
    pub(super) async fn verified(&self, started: &Started) -> Result<VerifiedRecord, StartedError> {
        let record = match started.verify(&self.anchors.ca()) {
            Err(StartedError::Record(record)) if record.is_of_unknown_ca() => record,
            known => return known,
        };
        match self.anchors.ask().await {
            Ok(()) => started.verify(&self.anchors.ca()),
            Err(card) => {
                let card = Box::new(card);
                Err(StartedError::Unasked { record, card })
            }
        }
    }

    pub(super) fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enrollment_is_foreign(enrollment: &Enrollment, ca: &FleetCa) -> bool {
    let verified = Keys::verify(enrollment, ca, unix_now());
    matches!(verified, Err(ChainError::ForeignCa))
}

/// A supervisor that was taken over must not pass its guest off as another.
fn claims_no_other(status: &GuestStatus, started: &Started, record: &str) -> Result<(), LinkError> {
    let measurement = status.launch_measurement.to_string();
    let claims = [
        ("identity", status.guest == started.guest),
        ("CID", status.cid == started.cid),
        ("launch record", status.record == record),
        (
            "launch measurement",
            started.measurement == Some(measurement),
        ),
    ];
    match claims.into_iter().find(|(_, same)| !same) {
        Some((other, _)) => Err(LinkError::Impostor(other)),
        None => Ok(()),
    }
}
