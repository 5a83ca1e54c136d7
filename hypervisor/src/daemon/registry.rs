//! The guests of this host.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::host::{GuestStatus, OperatorRefusal};
use bartizan_attestation::launch::RestartPolicy;
use uuid::Uuid;

use super::admissions::{Admissions, Keeper};
use super::config::Config;
use super::ended::has_ended;
use super::guest::Guest;
use super::launch::{self, Order};
use super::link::{CardLink, LinkError, SupervisorLink};
use super::pending::Pending;
use super::places::{Known, Place, Places};
use super::started::Started;
use super::unheard::Unheard;
use super::watch::{End, follow};

/// First delay before a restart; doubled up to [`MAX_DELAY`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// All guests, by UUID.
pub(super) struct Registry {
    pub(super) config: Config,
    pub(super) card: CardLink,
    pub(super) fleet_ca: Arc<FleetCa>,
    pub(super) admissions: Admissions,
    places: Mutex<Places>,
}

impl Registry {
    /// With what keeps its guests admitted at devices, to be run once those that run already are.
    pub(super) fn new(config: Config) -> anyhow::Result<(Self, Keeper)> {
        let fleet_ca = FleetCa::from_pem_or_der(&std::fs::read(&config.fleet_ca)?)?;
        std::fs::create_dir_all(config.run_dir.join("guests"))?;
        let (admissions, keeper) = Admissions::new(config.devices_socket.clone());
        let registry = Self {
            card: CardLink::new(config.card_socket.clone()),
            fleet_ca: Arc::new(fleet_ca),
            admissions,
            places: Mutex::default(),
            config,
        };
        Ok((registry, keeper))
    }

    pub(super) fn len(&self) -> usize {
        self.places().len()
    }

    /// Has the devices of guests that run admitted as they were when they were started, whatever becomes of their supervisors.
    pub(super) fn admit_again(&self) {
        let notes = self.config.started();
        for vm in Started::all(&notes) {
            if !has_ended(&self.config, vm)
                && let Ok(Some(started)) = Started::load(&notes, vm)
            {
                self.admissions.admit_again(vm, started.admission());
            }
        }
    }

    /// Takes up the guests whose supervisors outlived the daemon before us.
    pub(super) async fn adopt(self: &Arc<Self>) {
        // All at once: each that does not answer takes its time.
        let tried: Vec<_> = Started::all(&self.config.started())
            .into_iter()
            .map(|vm| tokio::spawn(Arc::clone(self).adopt_one(vm)))
            .collect();
        for one in tried {
            if let Err(error) = one.await {
                tracing::error!(%error, "a guest was not looked at");
            }
        }
    }

    async fn adopt_one(self: Arc<Self>, vm: Uuid) {
        if has_ended(&self.config, vm) {
            tracing::info!(%vm, "not running any more");
            self.admissions.dismiss(vm);
            tokio::spawn(self.restart_ended(vm));
            return;
        }
        match self.take_up(vm).await {
            Ok(status) => tracing::info!(guest = %status.guest, "taken up again"),
            Err(error) => {
                tracing::warn!(%vm, %error, "not taken up yet");
                self.wait_for(vm);
            }
        }
    }

    /// Starts a guest that an operator ordered.
    pub(super) async fn start(
        self: &Arc<Self>,
        order: Order,
    ) -> Result<GuestStatus, OperatorRefusal> {
        let pending = Pending::new(&order.verified.record);
        let cid = self.places().reserve(&pending);
        let cid = cid.ok_or_else(|| OperatorRefusal::AlreadyRunning(pending.name.clone()))?;
        let started = self.boot(&order, &pending, cid).await;
        if started.is_err() {
            self.places().leave_starting(&pending);
        }
        started
    }

    /// One boot of a guest that has the place of one that is being started. Where it fails and has not ended, its place is one
    /// that was not heard.
    async fn boot(
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
                self.admissions.dismiss(vm);
            } else {
                // Its start may have been late only.
                self.places().leave_starting(pending);
                self.wait_for(vm);
            }
        }
        booted
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

    /// Gives a guest the place of one that was not heard, unless it has one.
    pub(super) fn place_unheard(&self, vm: Uuid, unheard: Unheard) -> bool {
        let mut places = self.places();
        let vacant = !places.has(vm);
        if vacant {
            places.put(vm, Place::Unheard(Arc::new(unheard)));
        }
        vacant
    }

    /// Connects to a guest's supervisor and follows it, if its guest is the one that was started.
    pub(super) async fn take_up(self: &Arc<Self>, vm: Uuid) -> Result<GuestStatus, LinkError> {
        let started = Started::load(&self.config.started(), vm)?;
        let started = started.ok_or(LinkError::Impostor("VM"))?;
        let verified = started.verify(&self.fleet_ca)?;
        let socket = self.config.boot_dir(vm).join("supervisor.sock");
        let supervisor = SupervisorLink::new(socket);
        let events = supervisor.watch().await?;
        let status = supervisor.status().await?;
        claims_no_other(&status, &started, &verified.yaml)?;
        self.admissions.admit_again(vm, started.admission());
        let guest = Arc::new(Guest::new(
            status.clone(),
            verified.record,
            supervisor,
            self.card.clone(),
            Arc::clone(&self.fleet_ca),
            self.config.devices_uid,
        ));
        self.places().put(vm, Place::Running(Arc::clone(&guest)));
        let registry = Arc::clone(self);
        tokio::spawn(async move {
            follow(Arc::clone(&guest), &registry.config, events).await;
            registry.admissions.dismiss(vm);
            registry.restart_ended(vm).await;
        });
        Ok(status)
    }

    /// What is due for a guest that has ended, and whose device was dismissed: it gives its place up, or waits there to be started again.
    pub(super) async fn restart_ended(self: Arc<Self>, vm: Uuid) {
        let Some(order) = self.due(vm) else {
            self.places().leave(vm);
            return;
        };
        let pending = Pending::new(&order.verified.record);
        if self.places().wait(&pending).is_some() {
            self.start_again(order, pending).await;
        }
    }

    /// What is to be started again, by the daemon's note of its start and what its supervisor left.
    fn due(&self, vm: Uuid) -> Option<Order> {
        let noted = Started::load(&self.config.started(), vm).and_then(|started| {
            let running = started.filter(|started| !started.stopped);
            let verified = |started: Started| Ok((started.verify(&self.fleet_ca)?, started));
            running.map(verified).transpose()
        });
        let (verified, started) = match noted {
            Ok(noted) => noted?,
            Err(error) => {
                tracing::error!(%vm, %error, "a guest that has ended is not started again");
                return None;
            }
        };
        let end = End::left_at(&self.config.boot_dir(vm).join("ending.json"));
        let wanted = match verified.record.restart {
            _ if end == End::Stopped => false,
            _ if end == End::Rebooted => true,
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => end == End::Failed,
            RestartPolicy::Always => true,
        };
        wanted.then_some(Order {
            verified,
            signed: started.record,
            ordered_at_s: started.ordered_at_s,
            by_policy: true,
        })
    }

    /// Boxed: a start watches the guest, whose end may start it again.
    fn start_again(
        self: Arc<Self>,
        order: Order,
        pending: Arc<Pending>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut delay = FIRST_DELAY;
            loop {
                tokio::time::sleep(delay).await;
                // An operator may have stopped it.
                let Some(cid) = self.places().resume(&pending) else {
                    return;
                };
                let Err(refusal) = self.boot(&order, &pending, cid).await else {
                    return;
                };
                tracing::warn!(vm = pending.name, %refusal, ?delay, "not restarted yet");
                if !self.places().wait_again(&pending) {
                    return;
                }
                delay = (delay * 2).min(MAX_DELAY);
            }
        })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
