//! A service of the host that answers at once: what an exchange over the guest's vsock costs alone.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

/// The port at which guests reach it.
pub(crate) const PORT: u32 = 2001;

/// A serving echo; its thread ends with this program.
pub(crate) struct Echo {
    sizes: Arc<Sizes>,
}

#[derive(Default)]
struct Sizes {
    request: AtomicUsize,
    answer: AtomicUsize,
}

impl Echo {
    /// Serves at a socket.
    pub(crate) fn serve(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, Permissions::from_mode(0o666))?;
        let sizes = Arc::new(Sizes::default());
        let served = Arc::clone(&sizes);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A guest that went away is noticed by whoever waits for its answers.
                answer(stream, &served).ok();
            }
        });
        Ok(Self { sizes })
    }

    /// From now on each connection brings so many bytes and gets so many back.
    pub(crate) fn set(&self, request: usize, answer: usize) {
        self.sizes.request.store(request, Ordering::Relaxed);
        self.sizes.answer.store(answer, Ordering::Relaxed);
    }
}

fn answer(mut stream: UnixStream, sizes: &Sizes) -> std::io::Result<()> {
    let mut request = vec![0; sizes.request.load(Ordering::Relaxed)];
    stream.read_exact(&mut request)?;
    stream.write_all(&vec![b'a'; sizes.answer.load(Ordering::Relaxed)])
}
