//! Tells devices which guests of this host may have a vsock device, and tells them again whenever they forgot it.
//!
//! Known attack: a supervisor that its QEMU took over says itself what its device is, names another guest's CID and API, and
//! enrols as that guest. So devices believe the daemon alone (see [`bartizan_local::admission`]), and a supervisor has no
//! more than the ticket of its own boot.
//!
//! ```text
//!   devices away ── connected ──► admit all, retain these ──► admit and retain as guests come and go
//!        ▲                                                                │
//!        └────────────────── the link ended: devices forgot all ──────────┘
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bartizan_local::admission::{Admission, AdmissionReply, AdmissionRequest, MAX_FRAME, Ticket};
use bartizan_local::aio;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::link::LinkError;

/// How long devices have to appear and answer when a guest is started.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long devices may take over one answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two tries to reach devices: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A guest's device is not admitted.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdmissionError {
    /// The operating system has no randomness.
    #[error("no random bytes can be had")]
    NoRandomness,
    /// Devices say why.
    #[error("the devices process refused the guest's vsock device: {0}")]
    Refused(String),
    /// Nobody answers.
    #[error(
        "the devices process did not admit the guest within {DEADLINE:?}; is `bartizan-devices` running?"
    )]
    Away,
}

/// A ticket that nobody can guess.
pub(super) fn ticket() -> Result<Ticket, AdmissionError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AdmissionError::NoRandomness)?;
    Ok(Ticket::new(bytes))
}

/// What the rest of the daemon asks of [`Keeper`].
#[derive(Clone, Debug)]
pub(super) struct Admissions(mpsc::UnboundedSender<Ask>);

#[derive(Debug)]
enum Ask {
    Admit(Uuid, Entry),
    Dismiss(Uuid),
}

/// A VM's device, and whoever waits for its admission.
#[derive(Debug)]
struct Entry {
    admission: Admission,
    waiting: Option<oneshot::Sender<Result<(), String>>>,
}

impl Admissions {
    /// With what keeps them at the devices behind `socket`, to be run.
    pub(super) fn new(socket: PathBuf) -> (Self, Keeper) {
        let (ask, asks) = mpsc::unbounded_channel();
        let keeper = Keeper {
            socket,
            asks,
            admitted: BTreeMap::new(),
        };
        (Self(ask), keeper)
    }

    /// Admits the device of a VM's new boot; returns when devices know it.
    pub(super) async fn admit(&self, vm: Uuid, admission: Admission) -> Result<(), AdmissionError> {
        let (sender, answer) = oneshot::channel();
        let waiting = Some(sender);
        self.ask(Ask::Admit(vm, Entry { admission, waiting }));
        match timeout(DEADLINE, answer).await {
            Ok(Ok(admitted)) => admitted.map_err(AdmissionError::Refused),
            Ok(Err(_)) | Err(_) => Err(AdmissionError::Away),
        }
    }

    /// Admits the device of a boot that was started before, as soon as devices are there.
    pub(super) fn admit_again(&self, vm: Uuid, admission: Admission) {
        let waiting = None;
        self.ask(Ask::Admit(vm, Entry { admission, waiting }));
    }

    /// A VM's boot has ended, or does not begin.
    pub(super) fn dismiss(&self, vm: Uuid) {
        self.ask(Ask::Dismiss(vm));
    }

    fn ask(&self, ask: Ask) {
        // Where nobody keeps them, the daemon is about to end.
        let _ = self.0.send(ask);
    }
}

/// Keeps devices told.
pub(super) struct Keeper {
    socket: PathBuf,
    asks: mpsc::UnboundedReceiver<Ask>,
    admitted: BTreeMap<Uuid, Entry>,
}

impl Keeper {
    /// Works until it is dropped. Before that, all guests that run must be admitted: devices end all others.
    pub(super) async fn run(mut self) {
        let mut delay = RETRY.0;
        loop {
            match self.connect().await {
                Ok(link) => {
                    delay = RETRY.0;
                    let Err(error) = self.follow(link).await else {
                        return;
                    };
                    tracing::warn!(%error, "devices are gone; guests are admitted again when they are back");
                }
                Err(error) => tracing::debug!(%error, "devices are not reached yet"),
            }
            sleep(delay).await;
            delay = (delay * 2).min(RETRY.1);
        }
    }

    /// A link to devices that know all that there is to know.
    async fn connect(&mut self) -> Result<UnixStream, LinkError> {
        let connected = UnixStream::connect(&self.socket).await;
        let mut link = connected.map_err(|error| LinkError::Away("devices process", error))?;
        while let Ok(ask) = self.asks.try_recv() {
            self.note(ask);
        }
        let all: Vec<_> = self.admitted.keys().copied().collect();
        for vm in all {
            self.admit(&mut link, vm).await?;
        }
        self.retain(&mut link).await?;
        tracing::info!(guests = self.admitted.len(), "devices are told");
        Ok(link)
    }

    /// Passes on what is asked, until nobody can ask any more or the link has ended.
    async fn follow(&mut self, mut link: UnixStream) -> Result<(), LinkError> {
        loop {
            let mut unasked = [0];
            tokio::select! {
                ask = self.asks.recv() => {
                    let Some(ask) = ask else { return Ok(()) };
                    match self.note(ask) {
                        Noted::Admit(vm) => self.admit(&mut link, vm).await?,
                        Noted::Dismissed => self.retain(&mut link).await?,
                    }
                }
                // Devices say nothing unasked: this is their end.
                _ = link.read(&mut unasked) => {
                    return Err(LinkError::Unexpected("devices process"));
                }
            }
        }
    }

    /// First: what the link does not carry now, the next one will.
    fn note(&mut self, ask: Ask) -> Noted {
        match ask {
            Ask::Admit(vm, entry) => {
                self.admitted.insert(vm, entry);
                Noted::Admit(vm)
            }
            Ask::Dismiss(vm) => {
                self.admitted.remove(&vm);
                Noted::Dismissed
            }
        }
    }

    async fn admit(&mut self, link: &mut UnixStream, vm: Uuid) -> Result<(), LinkError> {
        let Some(entry) = self.admitted.get_mut(&vm) else {
            return Ok(());
        };
        let admission = Admission {
            // Nobody waits any more for it to be admitted first.
            runs: entry.waiting.is_none(),
            ..entry.admission.clone()
        };
        let reply = say(link, &AdmissionRequest::Admit(admission)).await?;
        let admitted = match reply {
            AdmissionReply::Done => Ok(()),
            AdmissionReply::Refused(why) => Err(why),
        };
        if let Err(why) = &admitted {
            tracing::error!(%vm, why, "devices do not admit a guest");
        }
        if let Some(waiting) = entry.waiting.take() {
            // Who waited too long has given it up.
            let _ = waiting.send(admitted);
        }
        Ok(())
    }

    async fn retain(&self, link: &mut UnixStream) -> Result<(), LinkError> {
        let tickets = self.admitted.values().map(|entry| entry.admission.ticket);
        match say(link, &AdmissionRequest::Retain(tickets.collect())).await? {
            AdmissionReply::Done => Ok(()),
            AdmissionReply::Refused(_) => Err(LinkError::Unexpected("devices process")),
        }
    }
}

/// What is to be said.
enum Noted {
    Admit(Uuid),
    Dismissed,
}

async fn say(
    link: &mut UnixStream,
    request: &AdmissionRequest,
) -> Result<AdmissionReply, LinkError> {
    let conversation = async {
        aio::write_frame(link, request, MAX_FRAME).await?;
        aio::read_frame(link, MAX_FRAME).await
    };
    timeout(ANSWER, conversation)
        .await
        .map_err(|_| LinkError::TimedOut("devices process", ANSWER))?
        .map_err(|error| LinkError::Frame("devices process", error))
}

#[cfg(test)]
mod tests;
