//! Between the enclave, devices and the guests that run.
//!
//! ```text
//!   running ──► guests ──┐
//!                        ├─► up ──► enclave ──► down ──► devices
//!   devices ─────────────┘
//! ```
//!
//! Known attack: the enclave hangs, with its link open, and flows wait for it. It is pinged, and one that says nothing for [`SILENCE`] is
//! gone: with the relay devices' link ends, and their flows follow what was decided for that. Its machine is the keeper's to start anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bartizan_attestation::host::{FROM_ENCLAVE_FRAME, FromEnclave, TO_ENCLAVE_FRAME, ToEnclave};
use bartizan_local::flow::ToDevices;
use bartizan_local::{FrameError, aio, decode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::devices;
use crate::daemon::running::{Boots, changes};

/// Messages that wait in each direction; who has more waits as well.
const WAITING: usize = 64;
/// How often the enclave is pinged.
const PING: Duration = Duration::from_secs(1);
/// How long it may say nothing: under emulation a handshake of another link keeps it busy for a second. Time in which nobody listens, since
/// devices take nothing, does not count.
const SILENCE: Duration = Duration::from_secs(5);

/// Why a relay has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    /// The enclave is gone, or sends what is no message.
    #[error("its link: {0}")]
    Enclave(#[from] FrameError),
    /// It sends devices what is no message of theirs.
    #[error("what it says to devices: {0}")]
    ForDevices(#[source] FrameError),
    /// What it showed when the link was opened is over.
    #[error("the certificate that it was opened with has ended; another link is opened")]
    CertificateEnded,
    /// It does not answer.
    #[error("it says nothing for {SILENCE:?}")]
    Silent,
    /// The daemon ends.
    #[error("nobody follows guests any more")]
    Ending,
}

/// Relays until the enclave is gone.
pub(super) async fn run(
    enclave: impl AsyncRead + AsyncWrite,
    running: watch::Receiver<Boots>,
    decisions: PathBuf,
) -> RelayError {
    let (reader, writer) = tokio::io::split(enclave);
    let (up, to_enclave) = mpsc::channel(WAITING);
    let (down, to_devices) = mpsc::channel(WAITING);
    tokio::select! {
        error = write(writer, to_enclave) => error,
        error = read(reader, down) => error,
        () = tell_guests(running, up.clone()) => RelayError::Ending,
        () = ping(up.clone()) => RelayError::Ending,
        never = devices::keep(decisions, up, to_devices) => match never {},
    }
}

async fn write(
    mut enclave: impl AsyncWrite + Unpin,
    mut sayings: mpsc::Receiver<ToEnclave>,
) -> RelayError {
    while let Some(saying) = sayings.recv().await {
        if let Err(error) = aio::write_frame(&mut enclave, &saying, TO_ENCLAVE_FRAME).await {
            return error.into();
        }
    }
    RelayError::Ending
}

async fn read(mut enclave: impl AsyncRead + Unpin, down: mpsc::Sender<ToDevices>) -> RelayError {
    loop {
        let Ok(said) = timeout(SILENCE, aio::read_frame(&mut enclave, FROM_ENCLAVE_FRAME)).await
        else {
            return RelayError::Silent;
        };
        match said {
            Ok(FromEnclave::Pong) => {}
            Ok(FromEnclave::ForDevices(bytes)) => match decode(&bytes) {
                Ok(saying) => {
                    // Taken for as long as there is a relay, by devices or in vain.
                    let _ = down.send(saying).await;
                }
                Err(error) => return RelayError::ForDevices(error),
            },
            Err(error) => return error.into(),
        }
    }
}

/// Pings, for as long as somebody writes.
async fn ping(up: mpsc::Sender<ToEnclave>) {
    while up.send(ToEnclave::Ping).await.is_ok() {
        sleep(PING).await;
    }
}

/// Tells of each guest that runs, and of its end; after the first time, that those were all.
async fn tell_guests(mut running: watch::Receiver<Boots>, up: mpsc::Sender<ToEnclave>) {
    let mut told = BTreeMap::new();
    let mut all = Some(ToEnclave::AllTold);
    loop {
        let (new, ended) = changes(&told, &running.borrow_and_update());
        let ended = ended.into_iter().map(|guest| {
            told.remove(&uuid::Uuid::from_bytes(guest.vm));
            ToEnclave::Ended(guest)
        });
        let ended: Vec<_> = ended.collect();
        let new = new.into_iter().map(|boot| {
            told.insert(uuid::Uuid::from_bytes(boot.guest.vm), boot.guest);
            ToEnclave::Runs(boot.as_ref().clone())
        });
        let new: Vec<_> = new.collect();
        for saying in ended.into_iter().chain(new).chain(all.take()) {
            if up.send(saying).await.is_err() {
                return;
            }
        }
        if running.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
