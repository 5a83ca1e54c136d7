//! The link itself: accepted, read, written.

use std::convert::Infallible;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bartizan_local::flow::{FromDevices, MAX_FRAME};
use bartizan_local::{FrameError, peer, read_frame, write_frame};

use super::Decisions;
use crate::control::accept;

/// How long who decides may take to read what it is asked.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Serves whoever decides, which only `hypervisor_uid` may, until the listener fails.
pub fn serve(
    decisions: &Arc<Decisions>,
    listener: &UnixListener,
    hypervisor_uid: u32,
) -> std::io::Result<Infallible> {
    let written = Arc::clone(decisions);
    thread::Builder::new()
        .name("questions".into())
        .spawn(move || write(&written))?;
    loop {
        let link = accept(listener)?;
        match peer(&link) {
            Ok(peer) if peer.uid == hypervisor_uid => {}
            Ok(peer) => {
                tracing::warn!(
                    uid = peer.uid,
                    pid = peer.pid,
                    "refused: uid may not decide"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "refused: the peer is unknown");
                continue;
            }
        }
        if let Err(error) = link.set_write_timeout(Some(TIMEOUT)) {
            tracing::warn!(%error, "a link cannot be used");
            continue;
        }
        let (link, decisions) = (Arc::new(link), Arc::clone(decisions));
        let number = decisions.replace(&link);
        tracing::info!("flows are decided on");
        let spawned = thread::Builder::new().name("decisions".into()).spawn({
            let decisions = Arc::clone(&decisions);
            move || read(&decisions, number, &link)
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a link");
            decisions.lose(number);
        }
    }
}

fn read(decisions: &Decisions, number: u64, link: &UnixStream) {
    let mut reader = link;
    loop {
        match read_frame(&mut reader, MAX_FRAME) {
            Ok(said) => decisions.hear(number, said),
            Err(FrameError::Closed) => break,
            Err(error) => {
                tracing::warn!(%error, "the link of who decides broke");
                break;
            }
        }
    }
    decisions.lose(number);
}

fn write(decisions: &Decisions) -> Infallible {
    loop {
        let (number, link, messages) = decisions.next();
        if let Err(error) = send(&link, &messages) {
            tracing::warn!(%error, "who decides cannot be asked");
            decisions.lose(number);
        }
    }
}

fn send(mut link: &UnixStream, messages: &[FromDevices]) -> Result<(), FrameError> {
    let mut frames = Vec::new();
    for message in messages {
        write_frame(&mut frames, message, MAX_FRAME)?;
    }
    Ok(link.write_all(&frames)?)
}
