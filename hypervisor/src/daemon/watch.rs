//! Follows one guest: certifies its measurer's keys, notices its end, restarts it by policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::SupervisorReply;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_local::aio;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use uuid::Uuid;

use super::certify::certify;
use super::config::Config;
use super::ended::boot_has_ended;
use super::guest::Guest;
use super::link::{LinkError, MAX_ANSWER};
use super::unheard::RETRY as RETRY_LINK;
use crate::supervisor::Ending;

/// Between two tries to reach the card for a certificate, and between two certificates of one guest's.
const RETRY: Duration = Duration::from_secs(1);
/// Between two events of one guest's: a supervisor that was taken over has no more of the daemon's time and log.
const EVENT: Duration = Duration::from_millis(100);
/// Between two looks at whether a guest has ended that is listened to.
const LOOK: Duration = Duration::from_secs(1);

/// How a guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// An operator stopped it: it stays down, whatever its policy.
    Stopped,
    /// It powered itself off.
    Shutdown,
    /// It asked for a reboot: a new boot with a new identity.
    Rebooted,
    /// It failed, or its supervisor died.
    Failed,
}

impl End {
    /// How a guest ended, by what its supervisor left; one that left nothing was killed.
    pub(super) fn left_at(path: &Path) -> Self {
        match Ending::load(path) {
            Ok(Some(Ending::Stopped)) => Self::Stopped,
            Ok(Some(Ending::Shutdown)) => Self::Shutdown,
            Ok(Some(Ending::Rebooted)) => Self::Rebooted,
            Ok(Some(Ending::Failed { .. }) | None) | Err(_) => Self::Failed,
        }
    }
}

/// Serves the guest's API and follows its supervisor until the guest ends.
pub(super) async fn follow(guest: Arc<Guest>, config: &Config, events: UnixStream) {
    let vm = Uuid::from_bytes(guest.identity.vm);
    let folder = config.guest_dir(vm);
    let mut api = JoinSet::new();
    api.spawn(serve_api(Arc::clone(&guest), folder.join("api.sock")));
    let mut paces = Paces::new();
    let mut events = Some(events);
    let mut delay = RETRY_LINK.0;
    loop {
        if let Some(events) = events.take() {
            tokio::select! {
                () = events_until_closed(&guest, &mut paces, events) => {}
                () = until_ended(config, &guest.identity) => break,
            }
        }
        // That the link ended says nothing of the guest.
        if boot_has_ended(config, &guest.identity) {
            break;
        }
        tokio::time::sleep(delay).await;
        match guest.supervisor.watch().await {
            Ok(again) => events = Some(again),
            Err(error) => {
                tracing::warn!(guest = %guest.identity, %error, "the guest has not ended and does not answer");
            }
        }
        delay = (delay * 2).min(RETRY_LINK.1);
    }
    drop(api);
    let end = End::left_at(&config.boot_dir(vm).join("ending.json"));
    tracing::info!(guest = %guest.identity, ?end, "guest ended");
}

/// Known attack: a supervisor that was taken over hands its end of the link on, or fills it with events, and ends: the link says
/// nothing of its end.
async fn until_ended(config: &Config, guest: &GuestIdentity) {
    loop {
        tokio::time::sleep(LOOK).await;
        if boot_has_ended(config, guest) {
            return;
        }
    }
}

/// Binds and serves the guest's API until dropped.
async fn serve_api(guest: Arc<Guest>, socket: PathBuf) {
    loop {
        match crate::api::serve(Arc::clone(&guest), &socket) {
            Ok(api) => api.await,
            Err(error) => {
                tracing::error!(guest = %guest.identity, %error, "the guest's API could not be bound; it is tried again");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// How fast a supervisor is listened to, however often its link ends.
struct Paces {
    events: Interval,
    /// Held while one is made.
    certificates: Arc<Mutex<Interval>>,
}

impl Paces {
    fn new() -> Self {
        let pace = |period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        Self {
            events: pace(EVENT),
            certificates: Arc::new(Mutex::new(pace(RETRY))),
        }
    }
}

/// Works off what the supervisor says, until the link ends.
async fn events_until_closed(guest: &Arc<Guest>, paces: &mut Paces, mut events: UnixStream) {
    // Aborted when dropped.
    let mut certifying = JoinSet::new();
    let mut state = None;
    while let Ok(event) = aio::read_frame::<SupervisorReply>(&mut events, MAX_ANSWER).await {
        paces.events.tick().await;
        match event {
            SupervisorReply::CertificateNeeded { csr } => {
                // A newer key makes the older request pointless.
                certifying.shutdown().await;
                let pace = Arc::clone(&paces.certificates);
                certifying.spawn(certify_until_done(Arc::clone(guest), csr, pace));
            }
            SupervisorReply::Status(status) => {
                if state.replace(status.state) != Some(status.state) {
                    tracing::info!(guest = %guest.identity, state = ?status.state, "guest");
                }
                if let Some(enrollment) = &status.enrollment {
                    guest.heard(enrollment);
                }
            }
            _ => tracing::warn!(guest = %guest.identity, "unexpected event of the supervisor"),
        }
    }
}

async fn certify_until_done(guest: Arc<Guest>, csr: Vec<u8>, pace: Arc<Mutex<Interval>>) {
    let mut pace = pace.lock().await;
    loop {
        pace.tick().await;
        match certify(&guest, csr.clone()).await {
            Ok(()) => return,
            // The card or its vault is restarting: the measurer refuses with a type until it is back.
            Err(error @ (LinkError::Away(..) | LinkError::TimedOut(..) | LinkError::Card(_))) => {
                tracing::warn!(guest = %guest.identity, %error, "report key not certified yet");
            }
            Err(error) => {
                tracing::error!(guest = %guest.identity, %error, "report key not certified");
                return;
            }
        }
    }
}
