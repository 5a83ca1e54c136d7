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

    /// Starts a guest from a verified record.
    pub(super) async fn start(
        self: &Arc<Self>,
        order: Order,
    ) -> Result<GuestStatus, OperatorRefusal> {
        let record = &order.verified.record;
        let vm = record.uuid;
        let cid = (self.places().reserve(vm, &record.name))
            .ok_or_else(|| OperatorRefusal::AlreadyRunning(record.name.clone()))?;
        let started = launch::start(self, &order, cid).await;
        let taken = match started {
            Ok(()) => self
                .take_up(vm)
                .await
                .map_err(|error| OperatorRefusal::Start(error.to_string())),
            Err(refusal) => Err(refusal),
        };
        if taken.is_err() {
            // Asked while nobody else can start it.
            if has_ended(&self.config, vm) {
                self.vacate(vm);
            } else {
                // Its start may have been late only.
                self.places().give_up(vm);
                self.wait_for(vm);
            }
        }
        taken
    }

    /// The guest with this name or UUID.
    pub(super) fn find(&self, name: &str) -> Result<Known, OperatorRefusal> {
        let named = |known: &Known| known.name() == name || known.vm().to_string() == name;
        self.known()
            .into_iter()
            .find(named)
            .ok_or_else(|| OperatorRefusal::UnknownVm(name.into()))
    }

    /// The guests that were started and have not ended.
    pub(super) fn known(&self) -> Vec<Known> {
        self.places().known()
    }

    /// Whether a guest has a place.
    pub(super) fn has(&self, vm: Uuid) -> bool {
        self.places().has(vm)
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

    /// A guest has ended. Its device is dismissed first: by then no other guest has its CID.
    pub(super) fn vacate(&self, vm: Uuid) {
        self.admissions.dismiss(vm);
        self.places().give_up(vm);
    }

    /// Connects to a guest's supervisor and follows it, if its guest is the one that was started.
    pub(super) async fn take_up(self: &Arc<Self>, vm: Uuid) -> Result<GuestStatus, LinkError> {
        let started = Started::load(&self.config.started(), vm)?;
        let started = started.ok_or(LinkError::Impostor("VM"))?;
        let verified = started.verify(&self.fleet_ca)?;
        let socket = self.config.guest_dir(vm).join("supervisor.sock");
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
            registry.vacate(vm);
            registry.restart_ended(vm).await;
        });
        Ok(status)
    }

    /// What is due for a guest that has ended, by the daemon's note of its start and what its supervisor left.
    pub(super) async fn restart_ended(self: Arc<Self>, vm: Uuid) {
        let noted = Started::load(&self.config.started(), vm).and_then(|started| {
            let running = started.filter(|started| !started.stopped);
            let verified = |started: Started| Ok((started.verify(&self.fleet_ca)?, started));
            running.map(verified).transpose()
        });
        let (verified, started) = match noted {
            Ok(Some(noted)) => noted,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%vm, %error, "a guest that has ended is not started again");
                return;
            }
        };
        let end = End::left_at(&self.config.guest_dir(vm).join("ending.json"));
        let order = Order {
            verified,
            signed: started.record,
            ordered_at_s: started.ordered_at_s,
            by_policy: true,
        };
        self.restart_by_policy(order, end).await;
    }

    /// Boxed: a start watches the guest, whose end may start it again.
    fn restart_by_policy(
        self: Arc<Self>,
        order: Order,
        end: End,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let record = &order.verified.record;
            let wanted = match record.restart {
                _ if end == End::Stopped => false,
                _ if end == End::Rebooted => true,
                RestartPolicy::Never => false,
                RestartPolicy::OnFailure => end == End::Failed,
                RestartPolicy::Always => true,
            };
            if !wanted {
                return;
            }
            let mut delay = FIRST_DELAY;
            loop {
                tokio::time::sleep(delay).await;
                match self.start(order.clone()).await {
                    Ok(_) => return,
                    // Whoever gave it its place sees to it from now on.
                    Err(_) if self.has(record.uuid) => return,
                    Err(refusal) => {
                        tracing::warn!(vm = record.name, %refusal, ?delay, "not restarted yet");
                    }
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
