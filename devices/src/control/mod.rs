//! Supervisors attach devices: see [`bartizan_local::attachment`].

mod accept;
mod attach;
mod roster;
mod socket;

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

pub use attach::{AttachError, receive};
use bartizan_local::attachment::{Attached, MAX_FRAME};
use bartizan_local::{peer, write_frame};
use roster::Roster;
pub use socket::{SocketError, bind};

use crate::device::{self, Attachment};
use crate::vsock::Limits;

/// Most devices at once.
const MAX_DEVICES: usize = 1024;

/// Accepts supervisors and serves a device for each until the listener fails.
pub fn serve(
    listener: &UnixListener,
    allowed_uids: &[u32],
    limits: Limits,
) -> std::io::Result<std::convert::Infallible> {
    let roster = Arc::new(Roster::new(MAX_DEVICES));
    loop {
        let control = accept::accept(listener)?;
        match peer(&control) {
            Ok(peer) if allowed_uids.contains(&peer.uid) => {}
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
        }
        let roster = Arc::clone(&roster);
        let spawned = thread::Builder::new()
            .name("device".into())
            .spawn(move || attach_and_serve(control, &roster, limits));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a device");
        }
    }
}

fn attach_and_serve(control: UnixStream, roster: &Roster, limits: Limits) {
    let attachment = match receive(control, limits) {
        Ok(attachment) => attachment,
        Err((control, error)) => return refuse(control, &error),
    };
    let cid = attachment.cid;
    let _entry = match roster.enter(cid) {
        Ok(entry) => entry,
        Err(error) => return refuse(attachment.control, &error),
    };
    if let Err(error) = welcome(&attachment) {
        tracing::warn!(cid, %error, "the supervisor left");
        return;
    }
    tracing::info!(cid, "device attached");
    match device::serve(attachment) {
        Ok(()) => tracing::info!(cid, "device detached"),
        Err(error) => tracing::warn!(cid, %error, "device ended"),
    }
}

fn welcome(attachment: &Attachment) -> Result<(), bartizan_local::FrameError> {
    write_frame(&mut &attachment.control, &Attached::Serving, MAX_FRAME)
}

fn refuse(mut control: UnixStream, error: &dyn std::error::Error) {
    tracing::warn!(%error, "an attachment is refused");
    // The supervisor may have left; there is nobody else to tell.
    let _ = write_frame(
        &mut control,
        &Attached::Refused(error.to_string()),
        MAX_FRAME,
    );
}
