//! The daemon admits devices, and supervisors attach them: see [`bartizan_local::admission`] and
//! [`bartizan_local::attachment`]. Which of the two a peer may do the kernel says, by its user.

mod accept;
mod admissions;
mod attach;
mod daemon;
mod dismissals;
mod observe;
mod roster;
mod socket;

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

pub(crate) use accept::accept;
use admissions::{Admissions, LinkNumber, Permit};
use attach::{Wish, receive};
use bartizan_local::attachment::{Attached, DeviceKind, MAX_FRAME};
use bartizan_local::{FrameError, peer, write_frame};
use daemon::Was;
use observe::Observations;
use roster::{Entry, Roster};
pub use socket::{SocketError, bind};

use crate::config::Config;
use crate::decisions::Decisions;
use crate::device;
use crate::link::Link;
use crate::net::{self, Fabric};
use crate::vsock::Limits;

/// Most guests at once, with their devices.
const MAX_DEVICES: usize = 1024;

/// What a peer may do.
#[derive(Clone, Copy)]
enum Role {
    /// Admit.
    Daemon(LinkNumber),
    /// Attach what was admitted.
    Supervisor,
}

/// All devices.
struct Devices {
    admissions: Admissions,
    roster: Roster,
    limits: Limits,
    fabric: Arc<Fabric>,
    decisions: Arc<Decisions>,
    observations: Observations,
    /// When this process began to serve.
    began: Instant,
}

/// Accepts daemon and supervisors, and serves, on the segments of that fabric, a device for each of the latter, until the listener fails. Where a device
/// hangs that was dismissed, the process ends with exit code 1.
pub fn serve(
    listener: &UnixListener,
    config: &Config,
    decisions: &Arc<Decisions>,
    fabric: Arc<Fabric>,
) -> std::io::Result<std::convert::Infallible> {
    let devices = Arc::new(Devices {
        admissions: Admissions::new(MAX_DEVICES, Arc::clone(decisions), Arc::clone(&fabric)),
        // Each may have two.
        roster: Roster::new(2 * MAX_DEVICES),
        limits: config.limits(),
        fabric,
        decisions: Arc::clone(decisions),
        observations: Observations::new(Arc::clone(decisions)),
        began: Instant::now(),
    });
    let watched = Arc::clone(&devices);
    thread::Builder::new()
        .name("dismissals".into())
        .spawn(move || watched.end_when_one_hangs())?;
    let mut daemon = LinkNumber::default();
    loop {
        let control = accept::accept(listener)?;
        let role = match peer(&control) {
            Ok(peer) if peer.uid == config.hypervisor_uid => {
                daemon = daemon.next();
                Role::Daemon(daemon)
            }
            Ok(peer) if config.allowed_uids.contains(&peer.uid) => Role::Supervisor,
            Ok(peer) => {
                tracing::warn!(
                    uid = peer.uid,
                    pid = peer.pid,
                    "refused: uid is not allowed"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "refused: the peer is unknown");
                continue;
            }
        };
        let devices = Arc::clone(&devices);
        let spawned = thread::Builder::new()
            .name("device".into())
            .spawn(move || devices.answer(role, control));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a connection");
        }
    }
}

impl Devices {
    fn answer(&self, role: Role, control: UnixStream) {
        match role {
            Role::Daemon(link) => {
                match daemon::serve(&control, link, &self.admissions, &self.observations) {
                    Ok(Was::Admitting) => {
                        tracing::info!("the daemon left; what it admitted stays");
                    }
                    // How that ended is said there.
                    Ok(Was::Observing) => {}
                    Err(error) => tracing::warn!(%error, "the daemon's link broke"),
                }
            }
            Role::Supervisor => self.attach_and_serve(control),
        }
    }

    fn end_when_one_hangs(&self) {
        let error = self.admissions.dismissals.watch();
        tracing::error!(%error, "this process ends, to be started anew");
        std::process::exit(1);
    }

    fn attach_and_serve(&self, control: UnixStream) {
        let wish = match receive(&control) {
            Ok(wish) => wish,
            Err(error) => return refuse(&control, &error),
        };
        let Some(cid) = self.admissions.cid(&wish.ticket) else {
            return unknown(&control);
        };
        let entry = match self.roster.enter(cid, (wish.ticket, wish.device)) {
            Ok(entry) => entry,
            Err(error) => return refuse(&control, &error),
        };
        self.serve_as(cid, &entry, wish, control);
    }

    /// Whoever has the place of a ticket is the only device of its kind that its admission knows.
    fn serve_as(&self, cid: u32, _entry: &Entry<'_>, wish: Wish, control: UnixStream) {
        let link = Arc::new(Link::new(control));
        let Some(permit) = self
            .admissions
            .attach(cid, &wish.ticket, wish.device, &link)
        else {
            return unknown(link.stream());
        };
        let device = wish.device;
        let served = match permit {
            Permit::Vsock(services) => serving(cid, device, &link).map(|()| {
                let attachment = device::Attachment {
                    cid,
                    services,
                    link,
                    journal: wish.journal,
                    log: wish.log,
                    limits: self.limits,
                };
                device::serve(attachment).map_err(anyhow::Error::from)
            }),
            Permit::Network(interface, ran) => {
                let plug = match self.fabric.plug(interface) {
                    Ok(plug) => plug,
                    Err(error) => return refuse(link.stream(), &error),
                };
                serving(cid, device, &link).map(|()| {
                    let attachment = net::device::Attachment {
                        plug,
                        link,
                        numbers: self.fabric.numbers.clone(),
                        decisions: Arc::clone(&self.decisions),
                        limits: net::flow::Limits::default(),
                        picks_up_until: ran.then(|| self.began + net::flow::PICK_UP),
                        log: wish.log,
                    };
                    net::device::serve(attachment).map_err(anyhow::Error::from)
                })
            }
        };
        match served {
            Some(Ok(())) => tracing::info!(cid, ?device, "device detached"),
            Some(Err(error)) => tracing::warn!(cid, ?device, %error, "device ended"),
            None => {}
        }
    }
}

/// Tells the supervisor that its device serves, if it is still there.
fn serving(cid: u32, device: DeviceKind, link: &Link) -> Option<()> {
    match answer(link.stream(), &Attached::Serving) {
        Ok(()) => {
            tracing::info!(cid, ?device, "device attached");
            Some(())
        }
        Err(error) => {
            tracing::warn!(cid, ?device, %error, "the supervisor left");
            None
        }
    }
}

fn answer(mut control: &UnixStream, answer: &Attached) -> Result<(), FrameError> {
    write_frame(&mut control, answer, MAX_FRAME)
}

fn unknown(control: &UnixStream) {
    tracing::warn!("an attachment is refused: its ticket is unknown");
    let _ = answer(control, &Attached::UnknownTicket);
}

fn refuse(control: &UnixStream, error: &dyn std::error::Error) {
    tracing::warn!(%error, "an attachment is refused");
    // The supervisor may have left; there is nobody else to tell.
    let _ = answer(control, &Attached::Refused(error.to_string()));
}
