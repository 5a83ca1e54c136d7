//! The link to devices by which flows are decided, for as long as there is an enclave to decide them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use bartizan_attestation::host::ToEnclave;
use bartizan_local::flow::{FromDevices, MAX_FRAME, ToDevices};
use bartizan_local::{FrameError, aio, encode};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Between two tries to reach devices: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Keeps a link to devices, again after each end of one.
pub(super) async fn keep(
    socket: PathBuf,
    up: mpsc::Sender<ToEnclave>,
    mut down: mpsc::Receiver<ToDevices>,
) -> Infallible {
    let mut delay = RETRY.0;
    loop {
        match UnixStream::connect(&socket).await {
            Ok(link) => {
                delay = RETRY.0;
                say_meanwhile(&up, ToEnclave::DevicesThere, &mut down).await;
                let ended = relay(link, &up, &mut down).await;
                tracing::warn!(error = %ended, "devices are gone; their flows are decided again when they are back");
                say_meanwhile(&up, ToEnclave::DevicesGone, &mut down).await;
            }
            Err(error) => tracing::debug!(%error, "devices are not reached yet"),
        }
        let pause = sleep(delay);
        tokio::pin!(pause);
        // What is for devices that are not there is for nobody: those that come are told anew.
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(_) = down.recv() => {}
            }
        }
        delay = (delay * 2).min(RETRY.1);
    }
}

async fn relay(
    link: UnixStream,
    up: &mpsc::Sender<ToEnclave>,
    down: &mut mpsc::Receiver<ToDevices>,
) -> FrameError {
    let (mut reader, mut writer) = link.into_split();
    let listening = async {
        loop {
            match aio::read_frame::<FromDevices>(&mut reader, MAX_FRAME).await {
                Ok(said) => say(up, ToEnclave::OfDevices(encode(&said).into())).await,
                Err(error) => return error,
            }
        }
    };
    let telling = async {
        while let Some(saying) = down.recv().await {
            if let Err(error) = aio::write_frame(&mut writer, &saying, MAX_FRAME).await {
                return error;
            }
        }
        FrameError::Closed
    };
    tokio::select! {
        error = listening => error,
        error = telling => error,
    }
}

/// The same, while what is for devices is for nobody.
///
/// Known attack: devices are stopped until every queue is full, and end: who waits here for the enclave would wait for who waits for it.
async fn say_meanwhile(
    up: &mpsc::Sender<ToEnclave>,
    saying: ToEnclave,
    down: &mut mpsc::Receiver<ToDevices>,
) {
    let said = say(up, saying);
    tokio::pin!(said);
    loop {
        tokio::select! {
            () = &mut said => return,
            Some(_) = down.recv() => {}
        }
    }
}

async fn say(up: &mpsc::Sender<ToEnclave>, saying: ToEnclave) {
    // Where nobody writes any more, the relay is about to end.
    let _ = up.send(saying).await;
}
