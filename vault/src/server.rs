//! Serving requests on the vault's socket: a thread a connection, few of them.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_attestation::keys::VaultRequest;
use bartizan_local::{FrameError, peer, read_frame, write_frame};

use crate::vault::Vault;

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may be idle or stall.
const IDLE: Duration = Duration::from_secs(300);

/// Binds the socket, replacing one that a vault before us left.
pub fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves for ever.
pub fn serve(vault: Vault, listener: &UnixListener, allowed_uids: &[u32]) {
    let vault = Arc::new(vault);
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors: let some connection end first.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if !peer(&stream).is_ok_and(|peer| allowed_uids.contains(&peer.uid)) {
            tracing::warn!("a connection of another user was refused");
            continue;
        }
        if open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("too many connections");
            continue;
        }
        let (vault, open) = (Arc::clone(&vault), Arc::clone(&open));
        thread::spawn(move || {
            if let Err(error) = converse(&vault, stream) {
                tracing::debug!(%error, "connection ended");
            }
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

fn converse(vault: &Vault, mut stream: UnixStream) -> Result<(), FrameError> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    loop {
        let request = match read_frame(&mut stream, VaultRequest::MAX_FRAME) {
            Err(FrameError::Closed) => return Ok(()),
            request => request?,
        };
        write_frame(
            &mut stream,
            &vault.answer(request, unix_now()),
            VaultRequest::MAX_FRAME,
        )?;
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
