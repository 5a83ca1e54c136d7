//! The guests of this host.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_attestation::certificates::FleetCa;
use bartizan_attestation::host::{GuestStatus, OperatorRefusal};
use bartizan_attestation::launch::{LaunchRecord, RestartPolicy};
use uuid::Uuid;

use super::config::Config;
use super::guest::Guest;
use super::launch::{self, Order};
use super::link::{CardLink, LinkError, SupervisorLink};
use super::unheard::{Unheard, has_ended};
use super::watch::{End, follow};
use crate::supervisor::SupervisorConfig;

/// First delay before a restart; doubled up to [`MAX_DELAY`].
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);
/// The lowest CID that is no reserved one (virtio 1.2 section 5.10.4).
const FIRST_CID: u32 = 3;

/// All guests, by UUID.
pub(super) struct Registry {
    pub(super) config: Config,
    pub(super) card: CardLink,
    pub(super) fleet_ca: Arc<FleetCa>,
    guests: Mutex<BTreeMap<Uuid, Place>>,
}

/// A guest's place in the registry.
enum Place {
    /// It is being started, with this CID.
    Starting(u32),
    Running(Arc<Guest>),
    /// It has not ended, and this daemon has not heard its supervisor.
    Unheard(Arc<Unheard>),
}

/// A guest that has a place, as far as the daemon knows it.
pub(super) enum Known {
    Guest(Arc<Guest>),
    Unheard(Arc<Unheard>),
}

impl Place {
    fn cid(&self) -> u32 {
        match self {
            Self::Starting(cid) => *cid,
            Self::Running(guest) => guest.cid,
            Self::Unheard(guest) => guest.cid,
        }
    }

    fn known(&self) -> Option<Known> {
        match self {
            Self::Starting(_) => None,
            Self::Running(guest) => Some(Known::Guest(Arc::clone(guest))),
            Self::Unheard(guest) => Some(Known::Unheard(Arc::clone(guest))),
        }
    }
}

impl Known {
    pub(super) fn record(&self) -> &LaunchRecord {
        match self {
            Self::Guest(guest) => &guest.record,
            Self::Unheard(guest) => &guest.record,
        }
    }
}

impl Registry {
    pub(super) fn new(config: Config) -> anyhow::Result<Self> {
        let fleet_ca = FleetCa::from_pem_or_der(&std::fs::read(&config.fleet_ca)?)?;
        std::fs::create_dir_all(config.run_dir.join("guests"))?;
        Ok(Self {
            card: CardLink::new(config.card_socket.clone()),
            fleet_ca: Arc::new(fleet_ca),
            guests: Mutex::default(),
            config,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.places().len()
    }

    /// Takes up the guests whose supervisors outlived the daemon before us.
    pub(super) async fn adopt(self: &Arc<Self>) {
        let Ok(folders) = std::fs::read_dir(self.config.run_dir.join("guests")) else {
            return;
        };
        let uuid = |name: &OsStr| Uuid::try_parse(name.to_str()?).ok();
        // All at once: each that does not answer takes its time.
        let tried: Vec<_> = folders
            .flatten()
            .filter_map(|folder| uuid(&folder.file_name()))
            .map(|vm| tokio::spawn(Arc::clone(self).adopt_one(vm)))
            .collect();
        for one in tried {
            if let Err(error) = one.await {
                tracing::error!(%error, "a guest was not looked at");
            }
        }
    }

    async fn adopt_one(self: Arc<Self>, vm: Uuid) {
        if has_ended(&self.config.guest_dir(vm)) {
            tracing::info!(%vm, "not running any more");
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
        let vm = order.record.uuid;
        let cid = self.reserve(vm, &order.record.name)?;
        let started = launch::start(self, &order, cid).await;
        let taken = match started {
            Ok(()) => self
                .take_up(vm)
                .await
                .map_err(|error| OperatorRefusal::Start(error.to_string())),
            Err(refusal) => Err(refusal),
        };
        if taken.is_err() {
            self.places().remove(&vm);
            // Its start may have been late only.
            self.wait_unless_ended(vm);
        }
        taken
    }

    /// The guest with this name or UUID.
    pub(super) fn find(&self, name: &str) -> Result<Known, OperatorRefusal> {
        let named = |record: &LaunchRecord| record.name == name || record.uuid.to_string() == name;
        self.known()
            .into_iter()
            .find(|known| named(known.record()))
            .ok_or_else(|| OperatorRefusal::UnknownVm(name.into()))
    }

    /// The guests that were started and have not ended.
    pub(super) fn known(&self) -> Vec<Known> {
        self.places().values().filter_map(Place::known).collect()
    }

    /// Whether a guest has a place.
    pub(super) fn has(&self, vm: Uuid) -> bool {
        self.places().contains_key(&vm)
    }

    /// Gives a guest the place of one that was not heard, unless it has one.
    pub(super) fn place_unheard(&self, vm: Uuid, unheard: Unheard) -> bool {
        let mut places = self.places();
        let vacant = !places.contains_key(&vm);
        if vacant {
            places.insert(vm, Place::Unheard(Arc::new(unheard)));
        }
        vacant
    }

    /// A guest that was not heard has ended.
    pub(super) fn forget_unheard(&self, vm: Uuid) {
        self.places().remove(&vm);
    }

    fn wait_unless_ended(self: &Arc<Self>, vm: Uuid) {
        if !has_ended(&self.config.guest_dir(vm)) {
            self.wait_for(vm);
        }
    }

    /// Connects to a guest's supervisor and follows it.
    pub(super) async fn take_up(self: &Arc<Self>, vm: Uuid) -> Result<GuestStatus, LinkError> {
        let folder = self.config.guest_dir(vm);
        let supervisor = SupervisorLink::new(folder.join("supervisor.sock"));
        let events = supervisor.watch().await?;
        let status = supervisor.status().await?;
        let record =
            LaunchRecord::parse(&status.record).map_err(|_| LinkError::Unexpected("supervisor"))?;
        let guest = Arc::new(Guest::new(
            status.clone(),
            record,
            supervisor,
            self.card.clone(),
            Arc::clone(&self.fleet_ca),
            self.config.devices_uid,
        ));
        self.places().insert(vm, Place::Running(Arc::clone(&guest)));
        let registry = Arc::clone(self);
        tokio::spawn(async move {
            follow(Arc::clone(&guest), &folder, events).await;
            registry.places().remove(&vm);
            registry.restart_ended(vm).await;
        });
        Ok(status)
    }

    /// What is due for a guest that has ended, by what it was started with and what its supervisor left.
    pub(super) async fn restart_ended(self: Arc<Self>, vm: Uuid) {
        let path = self.config.guest_dir(vm).join("supervisor.json");
        let Ok(config) = SupervisorConfig::load(&path) else {
            return;
        };
        let Ok(record) = LaunchRecord::parse(&config.record) else {
            return;
        };
        let end = End::left_at(&config.ending());
        let order = Order {
            record,
            yaml: config.record,
            operator: config.operator,
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
            let record = &order.record;
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
                    Err(OperatorRefusal::AlreadyRunning(_)) => {
                        return self.wait_unless_ended(record.uuid);
                    }
                    Err(refusal) => {
                        tracing::warn!(vm = record.name, %refusal, ?delay, "not restarted yet");
                    }
                }
                delay = (delay * 2).min(MAX_DELAY);
            }
        })
    }

    /// Takes a place and a CID that no running guest has.
    fn reserve(&self, vm: Uuid, name: &str) -> Result<u32, OperatorRefusal> {
        let mut places = self.places();
        let named =
            |place: &Place| matches!(place.known(), Some(known) if known.record().name == name);
        if places.contains_key(&vm) || places.values().any(named) {
            return Err(OperatorRefusal::AlreadyRunning(name.into()));
        }
        let taken: Vec<_> = places.values().map(Place::cid).collect();
        let cid = (FIRST_CID..)
            .find(|cid| !taken.contains(cid))
            .unwrap_or(FIRST_CID);
        places.insert(vm, Place::Starting(cid));
        Ok(cid)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Uuid, Place>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
