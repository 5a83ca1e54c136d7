//! Serving requests on the vault's socket: a fixed number of threads, a connection each.
//!
//! All threads are started before the process confines itself, so that the filter need not allow starting one.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_attestation::keys::VaultRequest;
use bartizan_local::{FrameError, peer, read_frame, write_frame};

use crate::boot::Link;
use crate::vault::Vault;

/// Connections at once; more wait in the listener's queue.
const CONNECTIONS: usize = 32;
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

/// Threads that are there, but do not serve yet.
#[derive(Debug)]
pub struct Server {
    gate: Arc<Barrier>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts the threads. When this returns, each is ready to be confined.
    pub fn start(
        vault: Vault,
        listener: UnixListener,
        allowed_uids: Vec<u32>,
        boot: Option<Link>,
    ) -> std::io::Result<Self> {
        let threads = CONNECTIONS + usize::from(boot.is_some());
        let gate = Arc::new(Barrier::new(threads + 1));
        let shared = Arc::new((vault, listener, allowed_uids));
        let start = |number| {
            let (shared, gate) = (Arc::clone(&shared), Arc::clone(&gate));
            let thread = thread::Builder::new().name(format!("connection {number}"));
            thread.spawn(move || {
                gate.wait();
                gate.wait();
                let (vault, listener, allowed_uids) = &*shared;
                serve(vault, listener, allowed_uids);
            })
        };
        let mut threads = (0..CONNECTIONS)
            .map(start)
            .collect::<std::io::Result<Vec<_>>>()?;
        if let Some(link) = boot {
            let (shared, gate) = (Arc::clone(&shared), Arc::clone(&gate));
            threads.push(thread::Builder::new().name("boot".into()).spawn(move || {
                gate.wait();
                gate.wait();
                let (vault, ..) = &*shared;
                if let Err(error) = link.serve(|step| vault.take(step)) {
                    tracing::error!(%error, "the link to the launcher broke");
                }
                // A thread must not end; what is open stays open, nothing else is opened any more.
                loop {
                    thread::sleep(Duration::from_secs(3600));
                }
            })?);
        }
        gate.wait();
        Ok(Self { gate, threads })
    }

    /// Serves for ever.
    pub fn run(self) {
        self.gate.wait();
        for thread in self.threads {
            // None ends alone: a thread's end is not in the filter's table, so that a panic ends the process.
            let _ended = thread.join();
        }
    }
}

fn serve(vault: &Vault, listener: &UnixListener, allowed_uids: &[u32]) {
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
        if let Err(error) = converse(vault, stream) {
            tracing::debug!(%error, "connection ended");
        }
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
