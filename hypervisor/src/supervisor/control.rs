//! What the daemon may ask, over the guest's control socket.

mod connection;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{Enrollment, Outcome, ReportKeyRotated};
use bartizan_attestation::keys::Chain;
use bartizan_attestation::measurement::Refusal;
use bartizan_attestation::renewal::RenewalRefusal;
use bartizan_local::peer;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::attempt::Plan;
use super::console::Console;
use super::view::View;
use connection::Connection;

/// Most connections at once.
const CONNECTIONS: usize = 128;
/// How long the last answers may take once the guest has ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is asked of the task that owns the guest. A `Refused` is words for the daemon's log.
#[derive(Debug)]
pub enum Ask {
    /// Measure.
    Measure {
        /// The guest's signed request.
        request: Vec<u8>,
        /// Where the outcome goes.
        answer: oneshot::Sender<Outcome>,
    },
    /// A certificate for the measurer's newest CSR.
    InstallCertificate {
        /// The chain.
        chain: Chain,
        /// Whether a measurer took it.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// The launch secret.
    TakeLaunchSecret {
        /// Where it goes.
        answer: oneshot::Sender<Result<[u8; 32], String>>,
    },
    /// Enrol a key.
    Enrol {
        /// What is said to be the launch secret.
        secret: [u8; 32],
        /// The key.
        key: Enrollment,
        /// Whether it was enrolled.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Renew the enrolled key.
    Renew {
        /// The guest's signed request.
        request: Vec<u8>,
        /// The new key's chain.
        chain: Chain,
        /// What is enrolled then.
        answer: oneshot::Sender<Result<Enrollment, RenewalRefusal>>,
    },
    /// Have the measurer make a new report key.
    RotateReportKey {
        /// Where the keys go once the new one is certified.
        answer: oneshot::Sender<Result<ReportKeyRotated, String>>,
    },
    /// Stop the guest.
    Stop {
        /// At once, not by ACPI.
        force: bool,
        /// When it is down.
        answer: oneshot::Sender<Result<(), String>>,
    },
}

impl Ask {
    /// What is still done for an attempt that hangs and whose QEMU was killed. All that belongs to the boot's identity is
    /// refused: the next attempt must find it unused.
    pub(super) fn of_hung(self) -> Option<Self> {
        let why = || "the boot hangs; it is tried again".to_owned();
        match self {
            Self::Stop { .. } => return Some(self),
            Self::Measure { answer, .. } => {
                let _ = answer.send(Outcome::Refused(Refusal::Unavailable));
            }
            Self::InstallCertificate { answer, .. } | Self::Enrol { answer, .. } => {
                let _ = answer.send(Err(why()));
            }
            Self::TakeLaunchSecret { answer } => {
                let _ = answer.send(Err(why()));
            }
            Self::RotateReportKey { answer } => {
                let _ = answer.send(Err(why()));
            }
            Self::Renew { answer, .. } => {
                let _ = answer.send(Err(RenewalRefusal::NotEnrolled));
            }
        }
        None
    }
}

/// A serving control socket. Dropping it ends every connection.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    accepting: JoinHandle<()>,
    connections: mpsc::Receiver<()>,
}

impl Control {
    /// Binds the socket and serves the daemon's user: other supervisors have the user of this one.
    pub(super) fn serve(
        plan: Arc<Plan>,
        console: Arc<Console>,
        view: watch::Receiver<View>,
        asks: mpsc::Sender<Ask>,
    ) -> io::Result<Self> {
        let socket = plan.config.socket();
        let listener = crate::socket::bind(&socket)?;
        let (alive, connections) = mpsc::channel(1);
        let daemon = plan.config.daemon;
        let connection = Connection::new(plan, console, view, asks, alive);
        let accepting = tokio::spawn(accept(listener, daemon, connection));
        Ok(Self {
            socket,
            accepting,
            connections,
        })
    }

    /// Takes no more connections and lets those there are say their last.
    pub(super) async fn finish(mut self) {
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::debug!(%error, "control socket not removed");
        }
        self.accepting.abort();
        // Each connection holds a sender; `None` says that all are done.
        let _ = timeout(FAREWELL, self.connections.recv()).await;
    }
}

async fn accept(listener: UnixListener, daemon: u32, connection: Connection) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "control connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match peer(&stream) {
            Ok(peer) if peer.uid == daemon => {}
            other => {
                tracing::warn!(?other, "control connection of another user refused");
                continue;
            }
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("too many control connections");
            continue;
        };
        let connection = connection.clone();
        tokio::spawn(async move {
            connection.serve(stream).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known attack: a guest that hangs wakes up in the instant between its QEMU's kill and its end.
    #[test]
    fn a_hung_attempt_gets_nothing_of_the_boots_identity() {
        let (answer, mut taken) = oneshot::channel();
        assert!(Ask::TakeLaunchSecret { answer }.of_hung().is_none());
        assert!(taken.try_recv().unwrap().is_err());
        let (answer, mut enrolled) = oneshot::channel();
        let enrol = Ask::Enrol {
            secret: [0; 32],
            key: Enrollment::new(vec![vec![1].into()]),
            answer,
        };
        assert!(enrol.of_hung().is_none());
        assert!(enrolled.try_recv().unwrap().is_err());
        let (answer, mut measured) = oneshot::channel();
        let request = Vec::new();
        assert!(Ask::Measure { request, answer }.of_hung().is_none());
        let refused = Outcome::Refused(Refusal::Unavailable);
        assert_eq!(measured.try_recv().unwrap(), refused);
        let (answer, _) = oneshot::channel();
        let stop = Ask::Stop {
            force: true,
            answer,
        };
        assert!(stop.of_hung().is_some());
    }
}
